"""Cells as a notebook and as a script: valid and deterministic."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbclient
import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_client import AsyncKernelManager

from core.cli import main
from core.import_export.notebooks import (
    NOTEBOOKS,
    code,
    lesson_notebook,
    markdown,
    notebook_parts,
    python_literal,
    source_with_imports,
    to_notebook,
    to_script,
)
from core.lessons import LESSONS
from core.lessons.lesson_text import load_prose

CELLS = [
    markdown("# Title\n\nWhat it is."),
    code("x = 1\nprint(x)"),
    markdown("More, `much` more."),
    code("def f():\n    pass"),
]


def test_a_notebook_passes_nbformat_validation_and_is_deterministic():
    written = to_notebook(CELLS)
    notebook = nbformat.reads(written, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert [cell.cell_type for cell in notebook.cells] == ["markdown", "code", "markdown", "code"]
    assert notebook.cells[1].source == "x = 1\nprint(x)"
    assert written == to_notebook(CELLS)


def test_a_script_contains_the_code_with_its_prose_as_comments():
    written = to_script(CELLS)
    names = {}
    exec(compile(written, "script", "exec"), names)  # noqa: S102 - we have just written it
    assert names["__doc__"].startswith("Title") and names["x"] == 1
    assert "# More, `much` more.\n" in written


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=30,
)


@given(VALUES)
def test_python_literal_evaluates_to_the_original_value(value):
    assert eval(python_literal(value)) == value  # noqa: S307


ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory) -> Iterator[AsyncKernelManager]:
    """One kernel for all notebooks, in a folder of its own: another kernel would only import torch again."""
    manager = AsyncKernelManager(kernel_name="python3")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    asyncio.run(manager.start_kernel(cwd=str(tmp_path_factory.mktemp("notebooks")), env=environment))
    yield manager
    asyncio.run(manager.shutdown_kernel(now=True))


@pytest.fixture
def executed(kernel, tmp_path):
    """Run a lesson's notebook with a cleared namespace and its own data folder; return what it printed."""

    def execute(lesson: str, *changes: tuple[str, str]) -> str:
        written = lesson_notebook(lesson)
        for before, after in changes:
            assert before in written
            written = written.replace(before, after)
        notebook = nbformat.reads(written, as_version=4)
        begin = f"%reset -f\nimport os; os.environ['GPT_EXPLORER_HOME'] = {str(tmp_path)!r}; del os"
        notebook.cells.insert(0, nbformat.v4.new_code_cell(begin))
        client = nbclient.NotebookClient(notebook, km=kernel, timeout=300)
        client.execute()
        client.kc.stop_channels()
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        assert not [output for output in outputs if output.get("name") == "stderr"]
        return "".join(output.get("text") or output.data["text/markdown"] for output in outputs)

    return execute


def losses(said: str, pattern: str) -> list[float]:
    return [float(found) for found in re.findall(pattern, said)]


def test_the_bigram_notebook_trains_to_the_loss_of_counting(executed):
    said = executed("bigram")
    learned, counted = map(float, re.search(r"validation loss (\S+); counting pairs reaches (\S+)", said).groups())
    assert learned < 2.5 and abs(learned - counted) < 0.05
    assert "it repeats: 'he t'" in said


def test_the_gpt_notebook_runs_and_its_full_model_beats_one_head(executed):
    # This tests that the notebook runs; the tests of the lesson check longer trainings.
    shorter = (("LADDER_STEPS = 200", "LADDER_STEPS = 40"), ("trained(steps=400", "trained(steps=100"))
    fewest = [(f"trained(200, {what}", f"trained({steps}, {what}") for what, steps in (("n", 2), ("**", 2), ("c", 60))]
    said = executed("gpt", *shorter, *fewest)
    assert losses(said, r"a small GPT, 100 steps: validation loss (\S+)")[0] < 2.5
    one_head, full = losses(said, r"one head +(\S+)")[0], losses(said, r"full +(\S+)")[0]
    assert full < one_head - 0.2
    cheat, honest = re.search(r"without the mask: validation loss (\S+), with it (\S+)", said).groups()
    assert float(cheat) < float(honest)
    assert "all the same: True" in said and "exactly the same" in said


def test_the_tokens_notebook_merges_pairs_and_compares_tokenizers(executed):
    said = executed("tokens", ("small_gpt(seed)", "small_gpt(seed).replace({'train.steps': 20})"))
    assert "240 bytes have become" in said and "'🙂'   U+1F642 [240, 159, 153, 130]" in said
    lengths = losses(said, r"tokens, (\S+) bytes per token")
    assert lengths[0] == 1 and lengths == sorted(lengths) and lengths[-1] > 3
    assert len(losses(said, r"bytes per token  (\S+) bits per byte")) == 3


def test_the_notebook_on_sudden_abilities_trains_and_measures(executed):
    # This tests that it runs; the tests of the presets and the gallery check longer trainings.
    said = executed("sudden", ("STEPS, EVERY = 300, 30", "STEPS, EVERY = 20, 10"), ("STEPS = 2400", "STEPS = 60"))
    assert len(losses(said, r"validation loss ([\d.]+), induction score")) == 3
    assert "memorized at step -1" in said and "37 + 39 modulo 59 is 17" in said
    assert len(losses(said, r"frequency +\d+ +([\d.]+)%")) == 29


def test_the_scaling_notebook_predicts_and_trains(executed):
    said = executed("scaling", ("STEPS = 160", "STEPS = 4"), ("_WINDOWS = 256", "_WINDOWS = 8"))
    assert len(losses(said, r"best: \dx(\d+)")) == 3 and "loss = " in said
    assert len(losses(said, r"2x48: (?:predicted|trained  ) ([\d.]+)")) == 2 and "multiply A / N^alpha by" in said


def test_the_broken_models_notebook_runs_every_experiment(executed):
    # This tests that it runs; the tests of the experiments check longer trainings on more text.
    shorter = (("STEPS = 200", "STEPS = 2"), ("_WINDOWS = 600", "_WINDOWS = 60"), ("_SAMPLE = 240", "_SAMPLE = 60"))
    shorter += (("_COURSE_WINDOWS = 64", "_COURSE_WINDOWS = 8"),)
    longer = (r"break_it(\"positions\")", r"break_it(\"positions\", 10)")  # positions hardly matter at first
    said = executed("break", *shorter, longer)
    control, broken = (
        losses(said, rf"{model} +training loss \S+ validation loss (\S+)") for model in ("control", "broken")
    )
    assert len(control) == len(broken) == len(LESSONS["break"])
    assert all(one != other for one, other in zip(control, broken, strict=True))
    assert "If the letter were missing from the validation text too" in said
    assert f"The broken model ended at **{broken[-1]:.2f}**".replace(".", r"\.") in said


@pytest.mark.parametrize("lesson", NOTEBOOKS)
def test_a_lesson_notebook_has_every_step_with_its_prose_and_code(lesson):
    written = lesson_notebook(lesson)
    assert written == lesson_notebook(lesson)
    notebook = nbformat.reads(written, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert set(notebook_parts(lesson)) <= set(LESSONS[lesson])
    text = "\n".join(cell.source for cell in notebook.cells)
    for number, step in enumerate(LESSONS[lesson], 1):
        assert f"## {number}. {load_prose(lesson, step).title}" in text
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert not any("[[" in part or re.search(r"\{\w+\}", part) for part in prose)


def test_source_with_imports_includes_each_dependency_once():
    shown: set[str] = set()
    source = source_with_imports("core.lessons.bigram", ["ngram_losses"], shown)
    assert source.index("def ngram_loss(") < source.index("def ngram_losses(")
    names = {}
    exec(source, names)  # noqa: S102 - our own
    assert list(names["ngram_losses"]("abab" * 9, "abab", 2, 1))[-1].done == 2
    assert source_with_imports("core.lessons.bigram", ["ngram_loss"], shown) == ""


def test_the_notebooks_command_writes_all_notebooks_without_importing_torch(tmp_path, capsys):
    assert main(["notebooks", str(tmp_path / "books")]) == 0
    assert {path.name for path in (tmp_path / "books").iterdir()} == {*NOTEBOOKS.values()}
    (tmp_path / "file").write_text("")
    assert main(["notebooks", str(tmp_path / "file")]) == 2
    assert "is a file, but a folder is needed there" in capsys.readouterr().err
    script = "import sys; from core.import_export.notebooks import lesson_notebook as make; make('bigram'); "
    script += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=60).returncode == 0
