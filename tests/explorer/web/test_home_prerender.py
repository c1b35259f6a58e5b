"""The HTML of Home contains its picture, drawn without Streamlit; other pages are unchanged."""

import json
import re
from pathlib import Path

import pytest
from starlette.datastructures import QueryParams
from streamlit.file_util import get_static_dir

from core.runs.gallery import gallery_runs
from explorer.web.home_prerender import with_picture

SHELL = Path(get_static_dir(), "index.html").read_text("utf-8")


def test_the_html_of_home_contains_everything_that_the_picture_needs():
    page = with_picture(SHELL, QueryParams("language=xx"))
    (parts,) = re.findall(r'\(document.querySelector\(".prerendered"\), (.*)\);', page)
    bar, picture = json.loads(parts)
    assert [bar["name"], picture["name"]] == ["gpt_explorer.time_bar", "gpt_explorer.time_machine"]
    for part in (bar, picture):
        assert f'class="st-key-{part["key"]}"' in page and part["styles"]
        assert part["message"]["run"] == gallery_runs()[0].id and part["message"]["sentences"]["language"] == "en"
    frame = bar["message"]["frame"]
    assert frame["step"] == picture["message"]["step"] == picture["message"]["anchor"]
    assert frame["prompt"] == "ROMEO:\n" and len(frame["tokens"]) == len(frame["picture"]["next"]) == 7
    assert all(f"--st-{name}-color: #" in page for name in ("background", "text", "border", "primary"))


def test_streamlits_script_is_imported_after_the_picture_is_drawn():
    page = with_picture(SHELL, QueryParams())
    (script,) = re.findall(r'<script type="module" crossorigin src="([^"]+)">', SHELL)
    assert f'src="{script}"' not in page and f'<link rel="modulepreload" crossorigin href="{script}">' in page
    drawn, _, after = page.partition("finally {")
    assert "await prerender(" in drawn and f'import("{script}")' in after


@pytest.mark.parametrize(("shell", "query"), [(SHELL, "embed=true"), ("<body></body>", "")])
def test_an_embedded_page_or_an_unknown_html_shell_is_unchanged(shell, query):
    assert with_picture(shell, QueryParams(query)) == shell


def test_home_is_not_prerendered_in_a_class(known):
    assert with_picture(SHELL, QueryParams()) == SHELL
