"""The sidebar: the logo, the navigation, and the current run."""

import streamlit as st

from core.errors import ExplorerError
from core.lessons.lesson_text import languages, word
from core.runs.folder import RunFolder, open_run
from explorer.components.page import page_change
from explorer.i18n.formatting import model_in_words, run_in_words
from explorer.i18n.language import _, language
from explorer.services import shared
from explorer.streaming.broadcaster import watch_runs
from explorer.widgets.address import LANGUAGE, OTHER_RUN, ROOT, RUN, SHOWN, page_file, parameter, query_for, write
from explorer.widgets.invalid_links import quoted_part
from explorer.widgets.layout import current_palette, literal
from explorer.widgets.run_picker import newest_run
from explorer.widgets.session import recall, remember

_LAST = "run_last_on_view"  # in the session: the id of a run
_LOOK_AGAIN = 5.0  # seconds between checks of an unfinished run
_OF_ONE_RUN = ("look_inside", "generate")  # pages that need one
_OF_ALL_RUNS = ("", "home", "runs")  # pages that show them all


def draw_sidebar(pages: dict[str, list], here) -> None:
    """Draw links to all pages of `st.navigation`, which keep the current run, and a card for that run."""
    st.logo(_logo(), size="large")
    run_id = parameter(RUN)
    with st.sidebar:
        for group, members in pages.items():
            with st.container(gap=None, key=f"nav_group_{group.lower() or 'top'}"):
                if group:
                    st.caption(_(group))
                for page in members:
                    with st.container(key="nav_here" if page is here else f"nav_{page.url_path or 'home'}"):
                        run = run_id or (newest_run() if page.url_path in _OF_ONE_RUN else None)
                        st.page_link(page, query_params=query_for(run, page.url_path))
        shown = [id for id in (run_id, parameter(OTHER_RUN)) if id]
        if here.url_path in _OF_ALL_RUNS:
            watch_runs(None)
        elif shown:
            watch_runs(shown)
        if run_id:
            remember(_LAST, run_id)
            _draw_run_on_view(run_id, says_so=here.url_path in (*_OF_ONE_RUN, "train"))
        elif last := recall(_LAST):  # the page has no run, such as the settings of the next one
            _draw_run_on_view(last, says_so=True, link=True)
        wanted = parameter(LANGUAGE)
        if wanted and wanted not in languages():
            st.caption(_("The pages are not available in the language {language}.", language=quoted_part(wanted)))
        if len(languages()) > 1:
            st.segmented_control(
                _("Language"), languages(), default=language(), required=True, key="language_choice",
                format_func=lambda name: word("language", name), label_visibility="collapsed",
                on_change=lambda: write({LANGUAGE: st.session_state["language_choice"]}),
            )  # fmt: skip
        page_change(here.url_path, SHOWN.get(here.url_path, ()))


def _draw_run_on_view(run_id: str, says_so: bool, link: bool = False) -> None:
    try:
        folder = open_run(shared.data_dir(), run_id)
    except ExplorerError as error:
        if not says_so:
            st.caption(literal(str(error)))
        return
    with st.container(gap=None, key="nav_group_on_view"):
        st.caption(_("Current run"))
        st.fragment(_card, run_every=None if folder.status().ended else _LOOK_AGAIN)(folder, link)


def _card(folder: RunFolder, link: bool) -> None:
    with st.container(border=True, gap=None, key="on_view_card"):
        if link:
            st.page_link(page_file("train"), label=literal(folder.name), query_params=query_for(folder.id))
        else:
            st.text(folder.name)
        status = folder.status()
        words = run_in_words(folder, status)
        st.caption(words if folder.problem else f"{model_in_words(folder.record().config.model)} · {words}")


def _logo() -> str:
    """Return the logo in the colors of the visitor's theme: an image cannot inherit them."""
    palette = current_palette()
    drawing = (ROOT / "assets" / "images" / "logo.svg").read_text(encoding="utf-8")
    return drawing.replace("ACCENT", palette.accent).replace("TEXT", palette.text)
