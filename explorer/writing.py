"""A model's text as server-sent events, one a token, written in a few threads that stop when the reader leaves."""

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from core.errors import ExplorerError, RunError
from core.generation_config import GenerationConfig
from core.lessons.prose import ENGLISH
from explorer import service
from explorer.language import in_language, say
from explorer.run_reader import event
from explorer.written import written_tokens

AT_ONCE = 2  # texts written at the same time
MOST_WAITING = 24  # texts asked for and not finished, those being written among them
LONGEST_PROMPT = 4000  # characters; it travels in an address
_SETTINGS = tuple(GenerationConfig.model_fields)

_log = logging.getLogger(__name__)
_threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="writing")
_asked: set[Future] = set()  # every job not ended yet, also where nobody waits for its text any more


async def write(run_id: str, query: Mapping[str, str]) -> AsyncIterator[str]:
    """Events `token` {"text", "visible", "p", "alternatives": [[visible, p], ...]}, at most one `problem`
    {"sentence"}, and `end`.

    Args:
        query: the prompt, the fields of GenerationConfig and the language of problems, as text from an address.
    """
    told_in = in_language(query.get("language", ENGLISH))
    if len(_asked) >= MOST_WAITING:
        with told_in:
            waits = say("Many people are having text written at this moment. Wait a little and press the button again.")
        yield _problem(waits)
        yield event("end", "{}")
        return
    loop, queue, left = asyncio.get_running_loop(), asyncio.Queue(), threading.Event()

    @told_in
    def work() -> None:
        try:
            if left.is_set():  # before a model is loaded for nobody
                return
            for piece in _tokens(run_id, query):
                if left.is_set():
                    return
                loop.call_soon_threadsafe(queue.put_nowait, piece)
        except ExplorerError as error:
            loop.call_soon_threadsafe(queue.put_nowait, _problem(str(error)))
        except Exception:
            _log.exception("Writing with run %s failed", run_id)
            sentence = say(
                "Writing has failed for a reason that is our mistake; the terminal of the server tells more."
            )
            loop.call_soon_threadsafe(queue.put_nowait, _problem(sentence))
        finally:
            loop.call_soon_threadsafe(queue.put_nowait, None)

    job = _threads.submit(work)
    _asked.add(job)
    job.add_done_callback(_asked.discard)
    try:
        done = False
        while not done:
            pieces = [await queue.get()]
            while not queue.empty():
                pieces.append(queue.get_nowait())
            done = pieces[-1] is None
            yield "".join(filter(None, pieces)) + (event("end", "{}") if done else "")
    finally:
        left.set()
        job.cancel()  # where it has not begun, it never will


def _tokens(run_id: str, query: Mapping[str, str]) -> Iterator[str]:
    prompt = query.get("prompt", "")
    if len(prompt) > LONGEST_PROMPT:
        raise RunError(
            say(
                "The prompt has {count} characters, and at most {most} are read here.",
                count=len(prompt),
                most=LONGEST_PROMPT,
            )
        )
    settings = GenerationConfig.parse({name: query[name] for name in _SETTINGS if name in query})
    opened = service.open_model(run_id)
    for token in written_tokens(opened.model, opened.tokenizer, prompt, settings):
        yield event("token", json.dumps(token))


def _problem(sentence: str) -> str:
    return event("problem", json.dumps({"sentence": sentence}))
