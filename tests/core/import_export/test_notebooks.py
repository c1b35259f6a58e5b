"""Cells as a notebook and as a script: valid, the same every time, and harmless whatever the text."""

import nbformat
from hypothesis import given
from hypothesis import strategies as st

from core.import_export.literals import literal
from core.import_export.notebooks import code, prose, to_notebook, to_script

CELLS = [
    prose("# Title\n\nWhat it is."),
    code("x = 1\nprint(x)"),
    prose("More, `much` more."),
    code("def f():\n    pass"),
]


def test_a_notebook_is_valid_by_jupyters_own_rules():
    written = to_notebook(CELLS)
    notebook = nbformat.reads(written, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert [cell.cell_type for cell in notebook.cells] == ["markdown", "code", "markdown", "code"]
    assert notebook.cells[1].source == "x = 1\nprint(x)"
    assert written == to_notebook(CELLS)


def test_a_script_is_the_code_with_its_prose_as_comments():
    written = to_script(CELLS)
    names = {}
    exec(compile(written, "script", "exec"), names)  # noqa: S102 - what we have just written
    assert names["__doc__"].startswith("Title") and names["x"] == 1
    assert "# More, `much` more.\n" in written


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=30,
)


@given(VALUES)
def test_a_literal_is_the_value_it_was_made_of(value):
    assert eval(literal(value)) == value  # noqa: S307
