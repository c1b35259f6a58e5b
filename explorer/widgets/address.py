"""What the address of a page says; no other file spells its parameters.

The run on view is in the address (`?run=ID`), so a refresh or a shared link shows it again. So is a draft that is not
a run yet (`?preset=gpt-tiny&set=model.n_layer:6;train.steps:500`), so a teacher can hand out settings as a link.
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote, unquote, urlencode

import streamlit as st

from core.atomic_io import parse_json
from core.config import RunConfig
from core.errors import ConfigError
from core.lessons.lesson_text import ENGLISH
from core.presets import PRESETS, preset
from core.settings import differences, fields_of
from explorer.components.page import replace_address
from explorer.i18n.language import _, language
from explorer.widgets.session import recall, remember

ROOT = Path(__file__).resolve().parents[2]
NAVIGATION = ROOT / "explorer" / "navigation.py"  # the script that Streamlit runs for every page
FIRST_PRESET = next(iter(PRESETS))

_RUN, _PRESET, _SET, _FORK, STEP = "run", "preset", "set", "fork", "step"  # in the address
_BESIDE, BESIDE_STEP, HEAD = "with", "with_step", "head"
VIEW, VIEW_KEY = "view", "inspect_view"  # of Look inside: in the address, and its widget
_LESSON, _LESSON_STEP, _HIDE, _LANGUAGE = "lesson", "step", "hide", "language"
_TEXT, PASSAGE, LETTERS = "text", "passage", "letters"
_DRAFTED = (_PRESET, _SET, _TEXT)  # say the settings of the next run
# In the session:
_DRAFT, _BEGUN, _STUDENT = "draft_config", "begun_run", "student"

_LATE = 8.0  # seconds that a request may be on its way


class PassageAsked(NamedTuple):
    """The passage to be guessed that the address asks for, as it stands there."""

    text: str | None
    number: int | None
    letters: int | None


class _Begun(NamedTuple):
    """A run that was started in this session, for as long as the browser may not know of it."""

    run_id: str
    left: dict[str, str]  # the address of its draft
    at: float  # seconds of the monotonic clock
    drawn: bool = False


class ForkFrom(NamedTuple):
    """The run, and the step of its weights, that a draft shall begin with."""

    run_id: str
    step: int | None  # None: its newest weights


def run_on_view() -> str | None:
    """The id in the address, as it stands there: whoever opens the run finds out whether there is one."""
    return st.query_params.get(_RUN) or None


def view_run(run_id: str | None) -> None:
    """Put a run into the address, or take it out."""
    draft = dict.fromkeys((_PRESET, _SET, _FORK, STEP)) if run_id else {}  # that this run began as
    _address({_RUN: run_id or None, **draft})


def pin_run(run_id: str) -> None:
    """Put the run that a page shows into its bare address, in place of that entry in the browser's history."""
    _replace({_RUN: run_id})


def begin_run(run_id: str) -> None:
    """Put a run that was started just now into the address, in place of its draft."""
    st.session_state[_BEGUN] = _Begun(run_id, st.query_params.to_dict(), time.monotonic())
    view_run(run_id)


def lead_to_run(run_id: str) -> None:
    """Let the page on view open a run that was started just now: see `run_to_open`."""
    st.session_state[_BEGUN] = _Begun(run_id, st.query_params.to_dict(), time.monotonic())


def run_to_open() -> str | None:
    """Return the run that was started from this page, for the request of the click and those already on their way.

    Such is the redraw that the news of the new run asks for: without this it would bring the left page back.
    """
    begun = st.session_state.get(_BEGUN)
    late = begun is None or time.monotonic() - begun.at >= _LATE
    return None if late or st.query_params.to_dict() != begun.left else begun.run_id


def stay_with_begun_run() -> None:
    """A request that was on its way when a run was started still has the draft's address: the run stays on view.

    Such are a second click, and the look at a trial that the page that was left takes twice a second. Once the browser
    has come with the run's address, whoever goes back to the draft means to.
    """
    begun = st.session_state.get(_BEGUN)
    if begun is None:
        return
    if st.query_params.to_dict() == begun.left and time.monotonic() - begun.at < _LATE:
        view_run(begun.run_id)
    elif begun.drawn:
        del st.session_state[_BEGUN]
    else:  # the very request that started it
        st.session_state[_BEGUN] = begun._replace(drawn=True)


def step_on_view() -> int | None:
    """The moment of its training that the address asks for; None for the newest."""
    return _step(STEP)


def view_step(step: int | None = None) -> None:
    """Put a moment into the address; None shows the newest, now and later."""
    _address({STEP: None if step is None else str(step)})


def run_beside() -> str | None:
    """The id of the run that the one on view is compared with, as it stands in the address."""
    return st.query_params.get(_BESIDE) or None


def step_beside() -> int | None:
    """The moment at which that run is shown; None leaves it to the page."""
    return _step(BESIDE_STEP)


def view_beside(run_id: str | None, step: int | None = None) -> None:
    """Put into the address what the run on view is compared with; None for nothing."""
    _address({_BESIDE: run_id, BESIDE_STEP: None if step is None else str(step)})


def fork_asked() -> ForkFrom | None:
    """What the address says a draft shall begin with, as it stands there; None for a run from scratch."""
    run_id = st.query_params.get(_FORK)
    return ForkFrom(run_id, step_on_view()) if run_id else None


def open_fork(run_id: str, step: int | None, config: RunConfig) -> NoReturn:
    """Go to the settings of a run that shall begin with another one's weights."""
    query = {_FORK: run_id} | ({} if step is None else {STEP: str(step)})
    st.switch_page(page_file("train"), query_params=query | address_of(config))


def leave_fork() -> None:
    """The draft shall begin from scratch after all."""
    _address({_FORK: None, STEP: None})


def page_file(name: str) -> str:
    """The file of a page, by its name ("train") or its path in the repository ("pages/train.py")."""
    return str(ROOT / "pages" / f"{Path(name).stem}.py")


def query_for(run_id: str | None, page: str = "") -> dict[str, str]:
    """What the address of another page needs so that the same run stays on view, and the page's view of it."""
    view = recall(VIEW_KEY) if page == "look_inside" else None
    return ({_RUN: run_id} if run_id else {}) | ({VIEW: view} if view else {})


def place_on(page: str) -> str:
    """Which thing a page shows, by its address: a run, the settings of one, or the step of a lesson."""
    shown = {"train": (_RUN, _FORK), "learn": (_LESSON, _LESSON_STEP)}.get(page, ())
    return " ".join([page, *(st.query_params.get(name, "") for name in shown)])


def open_page(name: str, run_id: str | None = None, config: RunConfig | None = None) -> NoReturn:
    """Go to a page, with a run on view or a draft to start from."""
    st.switch_page(page_file(name), query_params=query_for(run_id, name) | (address_of(config) if config else {}))


def address_of(config: RunConfig) -> dict[str, str]:
    """The query parameters that say the same as `config`: its preset, and what differs from it."""
    name = config.preset if config.preset in PRESETS else FIRST_PRESET
    changed = differences(config, preset(name))
    parts = [f"{path}:{json.dumps(value).strip(chr(34))}" for path, value in changed.items()]
    return {_PRESET: name} | ({_SET: ";".join(parts)} if parts else {})


def config_from(query: Mapping[str, str]) -> RunConfig | None:
    """Return the config that an address asks for; None if it asks for none.

    `text=NAME` asks for the same as `set=data.corpus:NAME`. Raises ConfigError naming what is wrong.
    """
    if not any(query.get(name) for name in _DRAFTED):
        return None
    changes: dict[str, Any] = {"data.corpus": query[_TEXT]} if query.get(_TEXT) else {}
    types = {path: known.type for path, known in fields_of(RunConfig)}
    for part in filter(None, (query.get(_SET) or "").split(";")):
        path, colon, value = part.partition(":")
        if not colon:
            raise ConfigError(
                _("The address says set={part}, but a setting has the form model.n_layer:6.", part=repr(part[:60]))
            )
        changes[path] = value if types.get(path) is str else _number(value)
    return preset(query.get(_PRESET) or FIRST_PRESET).replace(changes)


def draft() -> RunConfig:
    """The settings of the next run: from the address, else what this visitor chose last, else the first preset.

    Raises ConfigError where the address asks for something that cannot be.
    """
    asked = config_from(st.query_params.to_dict())
    return asked or st.session_state.get(_DRAFT) or preset(FIRST_PRESET)


def keep_draft(config: RunConfig) -> None:
    """Remember the settings of the next run for this visitor, on every page."""
    st.session_state[_DRAFT] = config
    if any(name in st.query_params for name in _DRAFTED):
        write_draft(config)


def write_draft(config: RunConfig, *, opening: bool = False) -> None:
    """Put the settings of the next run into the address, to be shared or bookmarked.

    An address that says the same already stays as it is, and a bare one says the first preset.

    Args:
        opening: whether the page has just been opened, so that nobody has chosen anything on it yet.
    """
    here = st.query_params.to_dict()
    if config == (config_from(here) or preset(FIRST_PRESET)):
        return
    wanted = {_PRESET: None, _SET: None, _TEXT: None} | address_of(config)
    _replace(wanted) if opening else _address(wanted)


def follow_address(key: str, name: str, choices: Sequence[str]) -> None:
    """Before a widget is drawn: let it show what the address asks for, else the first choice.

    Its `on_change` is `write_address`, and nothing else writes that part: each change of the address is an entry in the
    browser's history, so a page that wrote its defaults as it opened would have to be left twice by Back.
    """
    asked = st.query_params.get(name)
    st.session_state[key] = asked if asked in choices else choices[0]
    remember(key, st.session_state[key])


def head_asked() -> str | None:
    """Return the head that the address asks for, such as "1.2" for the second head of the first layer."""
    return st.query_params.get(HEAD)


def write_address(name: str, value: str | None) -> None:
    """Put something that was chosen into the address, to be shared or come back to; None takes it out."""
    _address({name: value})


def view_asked() -> str | None:
    """The view of a page that the address asks for, as it stands there."""
    return st.query_params.get(VIEW) or None


def text_of_link() -> str | None:
    """The text that the address asks a new run to learn from, as it stands there."""
    parts = (st.query_params.get(_SET) or "").split(";")
    return dict(part.partition(":")[::2] for part in parts).get("data.corpus") or st.query_params.get(_TEXT)


def leave_text_of_link() -> None:
    """Take that text out of the address; all other settings stay."""
    parts = (st.query_params.get(_SET) or "").split(";")
    _address({_SET: ";".join(part for part in parts if not part.startswith("data.corpus:")) or None, _TEXT: None})


def leave_draft() -> None:
    """Take the settings of the next run out of the address and out of the session."""
    st.session_state.pop(_DRAFT, None)
    _address(dict.fromkeys(_DRAFTED))


def passage_asked() -> PassageAsked:
    """Which passage a link wants played; None for what it does not say."""
    return PassageAsked(st.query_params.get(_TEXT), _step(PASSAGE), _step(LETTERS))


def view_passage(text: str, number: int, letters: int) -> None:
    """Put the passage into the address, so that a class can play the same one."""
    _address({_TEXT: text, PASSAGE: str(number), LETTERS: str(letters)})


def leave_passage() -> None:
    """Take the passage out of the address: the page chooses one."""
    _address(dict.fromkeys((_TEXT, PASSAGE, LETTERS)))


def lesson_on_view() -> tuple[str | None, str | None]:
    """The lesson and the step of it that the address asks for, as they stand there."""
    return st.query_params.get(_LESSON) or None, st.query_params.get(_LESSON_STEP) or None


def view_lesson(lesson: str | None, step: str | None = None) -> None:
    """Put a lesson's step into the address, or take it out. What a teacher's link chose for it comes back with it."""
    here = lesson_on_view()
    if here != (lesson, step):
        remember(_handed_out(*here), {name: st.query_params.get(name) for name in (_SET, _HIDE)})
        chosen = recall(_handed_out(lesson, step), dict.fromkeys((_SET, _HIDE)))
        _address({_LESSON: lesson, _LESSON_STEP: step, **chosen})


def _handed_out(lesson: str | None, step: str | None) -> str:
    return f"link-{lesson}-{step}"


def lesson_values() -> dict[str, str]:
    """What a teacher's link sets, by the name of the control; checked by whoever draws it."""
    parts = (st.query_params.get(_SET) or "").split(";") if st.query_params.get(_LESSON) else []
    return {name: unquote(value) for name, colon, value in (part.partition(":") for part in parts) if colon}


def hidden_controls() -> set[str]:
    """The names of the controls that a teacher's link hides."""
    hidden = set(filter(None, (st.query_params.get(_HIDE) or "").split(";")))
    if hidden:
        remember(_STUDENT, True)
    return hidden


def is_student() -> bool:
    """Whether this visitor came by a link that hides something, at any step."""
    return bool(hidden_controls()) or recall(_STUDENT, False)


def lesson_query(
    lesson: str, step: str | None = None, values: Mapping[str, Any] | None = None, hide: Sequence[str] = ()
) -> str:
    """The address of a step, relative to the app's pages, with chosen values and controls hidden."""
    query = {_LESSON: lesson, _LESSON_STEP: step, _LANGUAGE: language() if language() != ENGLISH else None}
    query[_SET] = ";".join(f"{name}:{quote(str(value), safe='')}" for name, value in (values or {}).items())
    query[_HIDE] = ";".join(hide)
    return "learn?" + urlencode({name: value for name, value in query.items() if value}, safe=":;")


def language_on_view() -> str | None:
    """The language of the pages that the address asks for, as it stands there."""
    return st.query_params.get(_LANGUAGE)


def view_language(chosen: str) -> None:
    """Put the language of the pages into the address."""
    _address({_LANGUAGE: chosen})


def whole_number(text: str) -> int | None:
    """Return the number in an address; None for anything else, and for one longer than any step, passage or count."""
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else None


def _number(text: str) -> Any:
    """A JSON number or truth value; anything else stays text, for the config to refuse in a sentence."""
    try:
        return parse_json(text)
    except ValueError:
        return text


def _step(name: str) -> int | None:
    return whole_number(st.query_params.get(name, ""))


def _address(changes: Mapping[str, str | None]) -> None:
    """Change several parameters of the address in one go; None takes one out."""
    now, wanted = st.query_params.to_dict(), _changed(changes)
    if wanted != now:
        st.query_params.from_dict(wanted)


def _replace(changes: Mapping[str, str | None]) -> None:
    """Change the same without an entry in the browser's history; this very rerun does not know of it."""
    with st.sidebar:
        replace_address(st.query_params.to_dict(), _changed(changes))


def _changed(changes: Mapping[str, str | None]) -> dict[str, str]:
    now = st.query_params.to_dict()
    return {key: value for key, value in (now | changes).items() if value is not None}
