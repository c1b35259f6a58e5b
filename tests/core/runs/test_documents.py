"""The script, the notebook and the report of a run."""

import contextlib
import html.parser
import io
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest

from core.config import RunConfig
from core.errors import ExplorerError, RunError
from core.import_export.report import report_html, sharpest, token_map
from core.import_export.report_text import question
from core.runs.ancestry import fork
from core.runs.commands import change_settings
from core.runs.documents import (
    DOCUMENTS,
    outcome_in_words,
    progress_of,
    recipe_of,
    rows_to_judge,
    run_facts,
    why_no_document,
    write_document,
)
from core.runs.folder import RunFolder
from core.runs.weights import load_model
from core.runs.worker import train_run
from core.text.own_text import read_text, save_text
from tests.core.runs.conftest import TEXT

ROOT = Path(__file__).parents[3]
NAME = 'owl </script><script>alert(1)</script> """ # \\'


@pytest.fixture
def trained(data_dir, config) -> RunFolder:
    """A run with setting changes."""
    run = RunFolder.create(data_dir, config, name=NAME)
    change_settings(run, ("train.learning_rate", 3e-3))
    change_settings(run, ("model.dropout", 0.2))
    train_run(run, data_dir, threads=1)
    return run


def execute(script: Path, data_dir: Path) -> subprocess.CompletedProcess:
    """Run a script in a separate process that can import `core`."""
    environment = dict(os.environ, GPT_EXPLORER_HOME=str(data_dir), PYTHONPATH=str(ROOT))
    return subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=120)


def execute_here(script: Path, data_dir: Path, *arguments: str) -> tuple[str, BaseException | None]:
    """Run a script in this process, which has imported torch; return its output and the error that ended it."""
    printed, ended = io.StringIO(), None
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setenv("GPT_EXPLORER_HOME", str(data_dir))
        patch.setattr(sys, "argv", [str(script), *arguments])
        try:
            runpy.run_path(str(script), run_name="__main__")
        except (SystemExit, ExplorerError) as error:
            ended = error
    return printed.getvalue(), ended


def test_the_script_reproduces_the_run_exactly(trained, data_dir, tmp_path):
    script = tmp_path / "again.py"
    write_document(trained, "script", script, data_dir)
    done = execute(script, data_dir)
    assert done.returncode == 0, done.stderr
    assert "The same to the last bit." in done.stdout
    found = re.search(r"validation loss (\S+) here, (\S+) then", done.stdout)
    assert float(found[1]) == float(found[2]) == trained.rows("metrics")[-1]["val_loss"]
    ours, again = load_model(trained), load_model(trained, tmp_path / "retrained.safetensors")
    assert ours.step == again.step
    assert all((a == b).all() for a, b in zip(ours.model.parameters(), again.model.parameters(), strict=True))


def test_the_notebook_reproduces_a_fork_from_its_parents_first_step(trained, data_dir, tmp_path, monkeypatch):
    further = fork(data_dir, trained, None, trained.record().config.replace({"train.steps": 5, "train.seed": 2}))
    train_run(further, data_dir, threads=1)
    assert len(recipe_of(further, data_dir).stages) == 2
    notebook = nbformat.reads(DOCUMENTS["notebook"](further, data_dir), as_version=4)
    nbformat.validate(notebook)
    monkeypatch.setenv("GPT_EXPLORER_HOME", str(data_dir))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = "".join(output.text for cell in notebook.cells for output in cell.get("outputs", []) if "text" in output)
    assert "The same to the last bit." in said and repr(further.rows("metrics")[-1]["val_loss"]) in said


def test_the_script_refuses_another_text_and_accepts_the_right_file(trained, data_dir, tmp_path):
    script, elsewhere = tmp_path / "again.py", tmp_path / "elsewhere"
    write_document(trained, "script", script, data_dir)
    elsewhere.mkdir()
    _, ended = execute_here(script, elsewhere)
    assert isinstance(ended, SystemExit), "a sentence and status 1, no traceback"
    assert trained.record().corpus_hash in ended.code
    file = tmp_path / "bottles.txt"
    file.write_text(read_text(TEXT))
    assert "The same to the last bit." in execute_here(script, elsewhere, str(file))[0]


def test_the_recipe_of_a_stopped_run_ends_at_its_last_step(trained, data_dir):
    trained.write_status(trained.status().model_copy(update={"state": "stopped", "step": 8}))
    (stage,) = recipe_of(trained, data_dir).stages
    assert stage.until == 8 and max(stage.measured) == 8


def test_the_script_of_a_fork_of_a_deleted_run_starts_from_its_saved_weights(trained, data_dir, tmp_path):
    further = fork(data_dir, trained, None, trained.record().config.replace({"train.steps": 5}))
    train_run(further, data_dir, threads=1)
    again = fork(data_dir, further, None, further.record().config)
    train_run(again, data_dir, threads=1)
    trained.delete()
    assert [len(recipe_of(run, data_dir).stages) for run in (further, again)] == [1, 1]
    script = tmp_path / "again.py"
    write_document(again, "script", script, data_dir)
    _, missing = execute_here(script, data_dir)
    assert "tokenizer.json" in str(missing)
    for path in (again.start_path, again.tokenizer_path):
        shutil.copy(path, tmp_path)
    assert "The same to the last bit." in execute_here(script, data_dir)[0]


def test_an_imported_run_has_no_script_and_says_why(trained, data_dir):
    further = fork(data_dir, trained, None, trained.record().config)
    trained.update_record(origin="imported from x")
    assert "was imported" in why_no_document(trained, "script", data_dir)
    assert why_no_document(trained, "report", data_dir) == ""
    with pytest.raises(RunError, match="was imported"):
        recipe_of(trained, data_dir)
    assert recipe_of(further, data_dir).has_start and why_no_document(further, "notebook", data_dir) == ""


NASTY = "<script>alert(1)</script>"
VOID = {"meta", "img", "source", "br"}


class Reader(html.parser.HTMLParser):
    """Parses a page as a browser would, and fails if a tag is left open."""

    def __init__(self, page: str):
        super().__init__()
        self.open, self.tags, self.text, self.addresses = [], [], "", []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, name, attributes):
        self.tags.append(name)
        self.addresses += [
            value for key, value in attributes if key in ("src", "href", "srcset", "xlink:href", "action")
        ]
        assert not any(key.startswith("on") for key, _ in attributes)
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


@pytest.fixture
def reported(data_dir, config) -> RunFolder:
    run = RunFolder.create(data_dir, config, name=f"owl {NASTY}")
    train_run(run, data_dir, threads=1)
    return run


def test_a_report_is_self_contained_and_has_no_scripts(reported, data_dir):
    page = DOCUMENTS["report"](reported, data_dir)
    read = Reader(page)
    assert page.startswith("<!doctype html>") and "script" not in read.tags
    assert read.addresses and all(address.startswith("data:image/png;base64,") for address in read.addresses)
    assert not re.search(r"url\(|@import|https?:", page)
    assert "default-src 'none'" in page.replace("&#x27;", "'")
    assert "prefers-color-scheme: dark" in page and "@media print" in page


def test_a_report_shows_the_title_of_the_text(data_dir, config):
    corpus = save_text("It was a dark and stormy night.\n" * 60, "My diary", data_dir).name
    run = RunFolder.create(data_dir, config.replace({"data.corpus": corpus}), name="owl")
    train_run(run, data_dir, threads=1)
    report = Reader(DOCUMENTS["report"](run, data_dir)).text
    assert "My diary" in report and corpus not in report


def test_names_titles_and_samples_are_escaped_in_a_report(data_dir, config):
    text = f"{NASTY} & so on & on\n" * 60
    corpus = save_text(text, f'"{NASTY}', data_dir).name
    run = RunFolder.create(data_dir, config.replace({"data.corpus": corpus}), name=f"owl {NASTY}")
    train_run(run, data_dir, threads=1)
    run.append("samples", {"step": 12, "text": f"ROMEO:\n{NASTY}\x00\x1b", "val_loss": 1.0})
    read = Reader(DOCUMENTS["report"](run, data_dir))
    assert f"owl {NASTY}" in read.text and f"ROMEO:\n{NASTY}��" in read.text and f'"{NASTY}' in read.text
    assert "script" not in read.tags


def test_a_report_has_the_numbers_and_charts_of_its_run(reported, data_dir):
    read, status = Reader(DOCUMENTS["report"](reported, data_dir)), reported.status()
    assert f"{status.val_loss:.4f} nats" in read.text
    assert "12 of 12 steps" in read.text and "Cross-entropy of the next token" in read.text
    assert run_facts(reported, data_dir).parameters == sum(
        tensor.numel()
        for tensor in __import__("core.runs.weights", fromlist=["x"]).load_model(reported).model.parameters()
    )
    assert read.tags.count("svg") == 3  # curves for a wide and a narrow page, and the attention of one head
    assert read.tags.count("img") == 2  # both heads


def test_a_report_of_a_fork_compares_it_with_its_parent(reported, data_dir):
    further = fork(
        data_dir, reported, None, reported.record().config.replace({"train.learning_rate": 5e-4}), name="fork"
    )
    train_run(further, data_dir, threads=1)
    read = Reader(DOCUMENTS["report"](further, data_dir))
    assert f"How does owl {NASTY}, trained on from its step 12, change with learning rate 1e-3 → 5e-4?" in read.text
    assert "this one is" in read.text or "about the same" in read.text
    reported.delete()
    assert "What is different from the default settings?" in Reader(DOCUMENTS["report"](further, data_dir)).text


@pytest.mark.parametrize("state", ["fresh", "bigram"])
def test_a_bigram_run_or_an_untrained_run_has_a_report(data_dir, config, state):
    changes = {"model.kind": "bigram"} if state == "bigram" else {}
    run = RunFolder.create(data_dir, config.replace(changes))
    if state == "bigram":
        train_run(run, data_dir, threads=1)
        assert "What does it predict after each letter?" in Reader(DOCUMENTS["report"](run, data_dir)).text
    else:
        assert "It has not trained yet" in Reader(DOCUMENTS["report"](run, data_dir)).text


def test_a_report_of_a_task_states_its_lowest_possible_loss(data_dir, config):
    run = RunFolder.create(data_dir, config.replace({"data.corpus": "modular-addition", "train.steps": 1}))
    train_run(run, data_dir, threads=1)
    assert "lowest possible 0.000" in Reader(DOCUMENTS["report"](run, data_dir)).text


def test_facts_are_escaped_in_the_report_html(trained, data_dir):
    facts = run_facts(trained, data_dir)._replace(
        reason='a < b & "c"', name="<i>x</i>\0\ud800", tokens=['"><script>'] * 6, state="stopped"
    )
    read = Reader(page := report_html(facts))
    assert 'a < b & "c"' in read.text and "<i>x</i>��" in read.text
    assert "script" not in read.tags and "i" not in read.tags and '"><script' not in page


def test_the_sharpest_head_attends_to_one_other_token():
    attention = np.full((2, 3, 6, 6), 40, np.uint8)
    attention[0, 0] = np.eye(6, dtype=np.uint8) * 255  # attends to itself, which does not count
    attention[1, 2] = np.eye(6, k=-1, dtype=np.uint8) * 255
    assert sharpest(attention) == (1, 2)


def test_a_report_of_a_default_run_lists_settings_and_a_train_command(data_dir):
    run = RunFolder.create(data_dir, RunConfig().replace({"data.corpus": "shakespeare"}))
    read = Reader(DOCUMENTS["report"](run, data_dir))
    assert "Learning rate" in read.text and "python -m core train" in read.text


def test_run_length_and_evaluation_settings_are_not_part_of_a_reports_question(reported, data_dir):
    config = reported.record().config.replace({"train.steps": 3, "train.eval_windows": 2, "train.sample_length": 5})
    further = fork(data_dir, reported, None, config)
    assert "trained on from its step 12, improve further?" in Reader(DOCUMENTS["report"](further, data_dir)).text


def test_long_token_labels_are_rotated_and_truncated():
    weights = np.tril(np.ones((3, 3))) / 3
    laid_out = token_map(weights, ["·Andronicus-and-more", "in", "a"], [["x"] * 3] * 3)
    assert laid_out["rotated"] and laid_out["tokens"][0][1] == "·Andronic…"
    assert not token_map(weights, ["a", "b", "·"], [["x"] * 3] * 3)["rotated"]


def test_the_question_of_a_report_states_the_number_of_steps(data_dir):
    run = RunFolder.create(data_dir, RunConfig().replace({"data.corpus": "shakespeare", "train.steps": 998}))
    facts = run_facts(run, data_dir)._replace(
        config=run_facts(run, data_dir).config.model_copy(update={"preset": None})
    )
    assert "in 998 steps?" in question(facts) and "in 1,900 steps?" in question(facts._replace(step=1900))


def test_a_report_of_a_ruined_run_agrees_with_the_dashboard(ruined_run, explorer_home):
    assert "after the learning rate was raised at step 21. Go back to step 20." in DOCUMENTS["report"](
        ruined_run, explorer_home
    )
    judged, whole = (progress_of(ruined_run, rows) for rows in (rows_to_judge(ruined_run), ruined_run.rows("metrics")))
    assert judged == whole and judged.trouble
    ruined_run.append("metrics", {"step": 42, "loss": float("nan")})
    judged, whole = (progress_of(ruined_run, rows) for rows in (rows_to_judge(ruined_run), ruined_run.rows("metrics")))
    assert judged == whole and judged.numbers["step"] == "40"


def test_the_outcome_of_a_finished_run_says_what_share_of_its_time_other_programs_took(finished_run):
    status = finished_run.status().model_copy(update={"seconds": 40.0, "waited": 30.0})
    finished_run.write_status(status)
    assert "Other programs took 75% of this time: about 10 s without them." in list(outcome_in_words(finished_run))
    finished_run.write_status(status.model_copy(update={"waited": 4.0}))
    assert not any("Other programs" in sentence for sentence in outcome_in_words(finished_run))
