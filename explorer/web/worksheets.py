"""A lesson's worksheet and its guide for the teacher as pages to print, for any text, with computed answers."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from core.errors import ExplorerError
from core.lessons.lesson_text import ENGLISH, languages, load_guide, load_prose
from core.text.corpora import find_corpus
from explorer.i18n.language import _, in_language
from explorer.learn.lessons import lessons, steps_of
from explorer.learn.printed import GUIDE, WORKSHEET, printed_steps
from explorer.learn.state import FIRST_TEXT
from explorer.services.shared import data_dir
from explorer.services.visitors import for_visitor, visitor
from explorer.web.html import template

_LOOK_AGAIN = 3  # seconds after which a page reloads for answers that were not computed yet
# One at a time: the results for the first one serve all others, and other requests keep their threads.
_THREAD = "print"
_printing = ThreadPoolExecutor(1, thread_name_prefix=_THREAD)
# Streamlit warns of every element that is drawn without a browser, which is intended here.
_warnings = logging.getLogger("streamlit.runtime.scriptrunner_utils.script_run_context")
_warnings.addFilter(lambda record: not (record.threadName or "").startswith(_THREAD))


async def paper(request: Request) -> Response:
    """Send a lesson's worksheet, or its guide to a teacher; what a visitor may not see is answered with 404."""
    lesson, kind = request.path_params["lesson"], request.path_params["paper"]
    if lesson not in lessons() or kind not in (WORKSHEET, GUIDE) or (kind == GUIDE and not visitor().is_teacher):
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such page to print.")
    text = request.query_params.get("text") or FIRST_TEXT
    language = request.query_params.get("language")
    language = language if language in languages() else ENGLISH
    try:
        html = await asyncio.wrap_future(_printing.submit(for_visitor(_html), lesson, kind, text, language))
    except ExplorerError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, str(error)) from None
    return HTMLResponse(html, headers={"Cache-Control": "no-store"})


def _html(lesson: str, kind: str, text: str, language: str) -> str:
    with in_language(language):
        by_name = steps_of(lesson)
        title = find_corpus(text, data_dir()).title if any(step.uses_text for step in by_name.values()) else ""
        steps = printed_steps(lesson, by_name, text, language)
        missing = sum(not (step.is_ready or step.problem) for step in steps)
        return template(kind).render(
            lesson=load_prose(lesson, "lesson", language),
            guide=load_guide(lesson, language),
            titles={step.name: step.title.partition(":")[0] for step in steps},
            steps=steps, text=title, missing=missing, again=_LOOK_AGAIN if missing else 0, language=language, _=_,
        )  # fmt: skip
