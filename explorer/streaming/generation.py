"""A model's text as server-sent events, one per token, generated in a few threads that stop when the reader leaves."""

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_address
from typing import Any, NamedTuple

from core.errors import ExplorerError, RunError
from core.fast.compiled import load_in_background
from core.interpretability.token_losses import TokenPredictions
from core.lessons.lesson_text import ENGLISH
from core.sampling import GeneratedToken, generate_together
from core.sampling_config import GenerationConfig
from core.text.tasks import END, asks
from core.text.token_display import visible
from core.text.tokenizers import IncrementalDecoder, Tokenizer, opening_ids, token_texts
from explorer.components.text import WrittenToken
from explorer.i18n.language import _, in_language, ngettext
from explorer.services import shared
from explorer.services.visitors import for_visitor
from explorer.streaming.run_events import event

AT_ONCE = 2  # texts generated at the same time
MAX_TOGETHER = 8  # of one run, by one of the threads
MAX_WAITING = 24  # unfinished texts, including those being generated
MAX_OF_ONE = 8  # of those, per network address; this machine's own may be a proxy's, with many users behind it
LONGEST_PROMPT = 4000  # characters; it travels in an address
_SETTINGS = tuple(GenerationConfig.model_fields)

_log = logging.getLogger(__name__)
_threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="writing")
_lock, _waiting = threading.Lock(), list["_Request"]()  # requests that no thread has started
_running: dict["_Request", str] = {}  # every unfinished text, even if nobody waits for it, and its client


class TooManyTexts(ExplorerError):
    """Too many texts are being generated to start another one."""


@contextmanager
def generated_text(run_id: str, query: Mapping[str, str], client: str = "") -> Iterator[AsyncIterator[str]]:
    """Generate a text until the block ends. Raises TooManyTexts before any work is done.

    Its events: `token` {"text", "visible", "p", "sampled", "alternatives": [[visible, p, text], ...]}, at most one
    `problem` {"sentence"}, and `end`. The query has the prompt, the fields of GenerationConfig and the
    language of problems.
    """
    language = query.get("language", ENGLISH)
    with in_language(language):
        own = list(_running.values()).count(client)
        if len(_running) >= MAX_WAITING:
            raise TooManyTexts(_("Too many texts are being generated now. Wait a moment and press Generate again."))
        if own >= MAX_OF_ONE and not _is_this_machine(client):
            words = ngettext(
                "{count} of your texts is still being generated. Wait until it is done.",
                "{count} of your texts are still being generated. Wait until they are done.",
                own,
            )
            raise TooManyTexts(words)
    loop, queue = asyncio.get_running_loop(), asyncio.Queue()
    request = _Request(run_id, query, language, partial(loop.call_soon_threadsafe, queue.put_nowait))
    load_in_background()  # the first text does not wait for it
    with _lock:
        _waiting.append(request)
        _running[request] = client
    job = _threads.submit(for_visitor(in_language(language)(_serve)), request)
    try:
        yield _chunks(queue)
    finally:
        request.left.set()
        with _lock:
            if request in _waiting:  # not started yet, so never start it
                job.cancel()
                _waiting.remove(request)
                _running.pop(request, None)


class _Request:
    """A requested text."""

    def __init__(self, run_id: str, query: Mapping[str, str], language: str, put: Callable[[str | None], Any]):
        self.run_id, self.query, self.put = run_id, query, put
        self.left = threading.Event()
        self.prepared = for_visitor(in_language(language)(partial(_prepare, run_id, query)))

    @contextmanager
    def problems_sent(self) -> Iterator[None]:
        try:
            yield
        except ExplorerError as error:
            self.put(problem_event(str(error)))
        except Exception:
            _log.exception("Writing with run %s failed", self.run_id)
            self.put(problem_event(_("Generating failed because of a bug; the server's terminal shows details.")))


def _serve(request: _Request) -> None:
    """Generate a text together with the waiting texts of the same run, which is faster than one by one."""
    with _lock:
        if request not in _waiting:  # already generated with another one
            return
        others = [other for other in _waiting if other.run_id == request.run_id and other is not request]
        served = [request, *others[: MAX_TOGETHER - 1]]
        for one in served:
            _waiting.remove(one)
    try:
        _write_together([one for one in served if not one.left.is_set()])  # load no model if everybody has left
    finally:
        for one in served:
            _running.pop(one, None)
            one.put(None)


def _write_together(requests: list[_Request]) -> None:
    texts: dict[tuple[int, str], list[tuple[_Request, _Prepared]]] = {}
    for request in requests:
        with request.problems_sent():
            text = request.prepared()
            if request.left.is_set():
                continue
            texts.setdefault((id(text.opened.model), text.settings.weights), []).append((request, text))
    for some in texts.values():
        written = generate_together(
            some[0][1].opened.model,
            [text.ids for _request, text in some],
            [text.settings for _request, text in some],
            use_all_threads=not shared.supervisor().busy,
        )
        streams = [(request, _events(text, tokens)) for (request, text), tokens in zip(some, written, strict=True)]
        del written  # so that closing the events also closes the tokens that they read, which stops the generation
        while streams := [(request, events) for request, events in streams if _sent_next(request, events)]:
            pass


def _sent_next(request: _Request, events: Iterator[str]) -> bool:
    """Send a text's next token; return False if there is none or if its reader has left."""
    with request.problems_sent():
        chunk = None if request.left.is_set() else next(events, None)
        if chunk is not None:
            request.put(chunk)
            return True
    return False


async def _chunks(queue: asyncio.Queue[str | None]) -> AsyncIterator[str]:
    done = False
    while not done:
        chunks = [await queue.get()]
        while not queue.empty():
            chunks.append(queue.get_nowait())
        done = chunks[-1] is None
        yield "".join(filter(None, chunks)) + (event("end", "{}") if done else "")


def _is_this_machine(client: str) -> bool:
    try:
        return ip_address(client).is_loopback
    except ValueError:  # no address: a test, or a socket file
        return True


class _Prepared(NamedTuple):
    """The input of a generated text."""

    opened: shared.Opened
    ids: list[int]
    settings: GenerationConfig
    answers: bool  # only answers were trained on: questions would be noise


def _prepare(run_id: str, query: Mapping[str, str]) -> _Prepared:
    prompt = query.get("prompt", "")
    if len(prompt) > LONGEST_PROMPT:
        problem = ngettext(
            "The prompt has {count} character, but at most {most} are allowed.",
            "The prompt has {count} characters, but at most {most} are allowed.",
            len(prompt), count=len(prompt), most=LONGEST_PROMPT,
        )  # fmt: skip
        raise RunError(problem)
    settings = GenerationConfig.parse({name: query[name] for name in _SETTINGS if name in query})
    opened = shared.open_model(run_id)
    ids = prompt_ids(opened.tokenizer, prompt)
    return _Prepared(opened, ids, settings, asks(opened.record.config.data.corpus, prompt))


def _events(text: _Prepared, tokens: Iterator[GeneratedToken]) -> Iterator[str]:
    for token in written_tokens(tokens, text.opened.tokenizer):
        yield event("token", json.dumps(token))
        if text.answers and token["text"] == END:
            return


def problem_event(sentence: str) -> str:
    """Return a sentence as a stream event: a browser hides the body of a failed stream."""
    return event("problem", json.dumps({"sentence": sentence}))


def prompt_ids(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """Return the tokens of a prompt; an empty one starts like a new line. Raises UnknownCharacterError."""
    return tokenizer.encode(prompt) or opening_ids(tokenizer)


def written_tokens(tokens: Iterable[GeneratedToken], tokenizer: Tokenizer) -> Iterator[WrittenToken]:
    """Yield generated tokens as they are displayed.

    The text of a token that ends within a character is "": the token that completes the character has it as its text.
    """
    shown = [visible(token) for token in tokenizer.tokens]
    decoder, waiting = IncrementalDecoder(tokenizer), None
    for token in tokens:
        if waiting:
            yield waiting
        split = decoder.pending  # the last token ended within a character, so no whole text can follow
        written: WrittenToken = {
            "text": decoder.add(token.id),
            "visible": shown[token.id],
            "p": round(token.probability, 5),
            "sampled": round(token.sampled, 5),
            "alternatives": [
                (shown[id], round(probability, 5), "" if split else _whole_text(tokenizer, id))
                for id, probability in token.alternatives
            ],
        }
        waiting = written if decoder.pending else None
        if not waiting:
            yield written
    if waiting:
        yield waiting | {"text": waiting["text"] + decoder.finish()}


def _whole_text(tokenizer: Tokenizer, id: int) -> str:
    """Return the text of a token; "" if it is part of a character."""
    try:
        return tokenizer.token_bytes[id].decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return ""


def passage_tokens(ids: Sequence[int], predictions: TokenPredictions, tokenizer: Tokenizer) -> list[WrittenToken]:
    """Return every token of a passage (T,) but the first, with the probability that the model predicted for it."""
    tokens, passage = tokenizer.tokens, []
    for id, text, p, others, shares in zip(ids[1:], token_texts(tokenizer, ids)[1:], *predictions, strict=True):
        alternatives = [
            (visible(tokens[o]), round(float(share), 5), "") for o, share in zip(others, shares, strict=True)
        ]
        token = WrittenToken(text=text, visible=visible(tokens[id]), p=round(float(p), 5), alternatives=alternatives)
        passage.append(token)
    return passage
