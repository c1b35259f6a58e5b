"""The lessons' notebooks: valid, whole, executed from start to end, and reaching the losses that they should."""

import re
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

from core.cli import main
from core.import_export.lesson_notebooks import NOTEBOOKS, lesson_notebook, walk
from core.import_export.source_code import source_with_imports
from core.lessons.lesson_text import load_prose
from core.lessons.outline import LESSONS

ROOT = Path(__file__).parents[3]


@pytest.fixture
def executed(monkeypatch, tmp_path):
    """Runs a lesson's notebook in a folder next to nothing, with `core` to be imported; returns what it printed."""

    def execute(lesson: str, change: tuple[str, str] = ("", "")) -> str:
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.setenv("GPT_EXPLORER_HOME", str(tmp_path / "home"))
        notebook = nbformat.reads(lesson_notebook(lesson).replace(*change), as_version=4)
        nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        assert not [output for output in outputs if output.get("name") == "stderr"]
        return "".join(output.get("text") or output.data["text/markdown"] for output in outputs)

    return execute


def losses(said: str, pattern: str) -> list[float]:
    return [float(found) for found in re.findall(pattern, said)]


def test_the_bigram_notebook_learns_what_counting_finds(executed):
    said = executed("bigram")
    learned, counted = map(float, re.search(r"validation loss (\S+); counting pairs reaches (\S+)", said).groups())
    assert learned < 2.5 and abs(learned - counted) < 0.05
    assert "it goes in a circle: 'he t'" in said


def test_the_gpt_notebook_climbs_the_ladder(executed):
    said = executed("gpt")
    assert losses(said, r"a small GPT, 400 steps: validation loss (\S+)")[0] < 2.25
    one_head, full = losses(said, r"one head +(\S+)")[0], losses(said, r"full +(\S+)")[0]
    assert full < one_head - 0.2
    cheat, honest = re.search(r"without the mask: validation loss (\S+), with it (\S+)", said).groups()
    assert float(cheat) < float(honest)
    assert "all the same: True" in said and "exactly the same" in said


def test_the_bench_notebook_breaks_everything_once(executed):
    said = executed("break", ("STEPS = 200", "STEPS = 10"))  # that it runs; what comes of it is tested with the bench
    healthy, broken = (
        losses(said, rf"{twin} +training loss \S+ validation loss (\S+)") for twin in ("healthy", "broken")
    )
    assert len(healthy) == len(broken) == len(LESSONS["break"])
    assert all(one != other for one, other in zip(healthy, broken, strict=True))
    assert "What is not in the text does not exist" in said  # what the page says to it, with the numbers of this run
    assert f"The broken model ended at **{broken[-1]:.2f}**".replace(".", r"\.") in said


@pytest.mark.parametrize("lesson", NOTEBOOKS)
def test_a_notebook_has_every_step_with_its_words_and_code(lesson):
    written = lesson_notebook(lesson)
    assert written == lesson_notebook(lesson)
    notebook = nbformat.reads(written, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert tuple(walk(lesson)) == LESSONS[lesson]
    text = "\n".join(cell.source for cell in notebook.cells)
    for number, step in enumerate(LESSONS[lesson], 1):
        assert f"## {number}. {load_prose(lesson, step).title}" in text
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert not any("[[" in part or re.search(r"\{\w+\}", part) for part in prose)


def test_a_source_comes_with_what_it_needs_and_only_once():
    shown: set[str] = set()
    source = source_with_imports("core.lessons.ngram_context", ["memory_losses"], shown)
    assert source.index("def memory_loss(") < source.index("def memory_losses(")
    names = {}
    exec(source, names)  # noqa: S102 - our own
    assert list(names["memory_losses"]("abab" * 9, "abab", 2, 1))[-1].done == 2
    assert source_with_imports("core.lessons.ngram_context", ["memory_loss"], shown) == ""


def test_the_shell_writes_them_without_torch(tmp_path, capsys):
    assert main(["notebooks", str(tmp_path / "books")]) == 0
    assert {path.name for path in (tmp_path / "books").iterdir()} == {*NOTEBOOKS.values()}
    (tmp_path / "file").write_text("")
    assert main(["notebooks", str(tmp_path / "file")]) == 2
    assert "is a file, but a folder is needed there" in capsys.readouterr().err
    told = "import sys; from core.import_export.lesson_notebooks import lesson_notebook as make; make('bigram'); "
    told += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], cwd=ROOT, timeout=60).returncode == 0
