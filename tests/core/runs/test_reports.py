"""A run's report: well-formed, alone, true, and showing what anybody wrote as nothing but text."""

import html.parser
import re

import numpy as np
import pytest

from core.config import RunConfig
from core.import_export.report.markup import escaped, tag
from core.import_export.report.pictures import sharpest, token_map
from core.import_export.report.words import question
from core.runs.folder import RunFolder
from core.runs.forks import fork
from core.runs.reports import facts_of, report_of
from core.runs.training_loop import train_run
from core.text.own_text import save_text

NASTY = "<script>alert(1)</script>"
VOID = {"meta", "img", "source", "br"}


class Reader(html.parser.HTMLParser):
    """Reads a page as a browser would, and fails where a tag is left open."""

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
def trained(data_dir, config) -> RunFolder:
    run = RunFolder.create(data_dir, config, name=f"owl {NASTY}")
    train_run(run, data_dir, threads=1)
    return run


def test_a_report_stands_alone(trained, data_dir):
    page = report_of(trained, data_dir)
    read = Reader(page)
    assert page.startswith("<!doctype html>") and "script" not in read.tags
    assert read.addresses and all(address.startswith("data:image/png;base64,") for address in read.addresses)
    assert not re.search(r"url\(|@import|https?:", page)
    assert "default-src 'none'" in page.replace("&#x27;", "'")
    assert "prefers-color-scheme: dark" in page and "@media print" in page


def test_a_report_names_a_text_by_its_title(data_dir, config):
    corpus = save_text("It was a dark and stormy night.\n" * 60, "My diary", data_dir).name
    run = RunFolder.create(data_dir, config.replace({"data.corpus": corpus}), name="owl")
    train_run(run, data_dir, threads=1)
    told = Reader(report_of(run, data_dir)).text
    assert "My diary" in told and corpus not in told


def test_names_titles_and_samples_are_shown_as_they_are(data_dir, config):
    text = f"{NASTY} & so on & on\n" * 60
    corpus = save_text(text, f'"{NASTY}', data_dir).name
    run = RunFolder.create(data_dir, config.replace({"data.corpus": corpus}), name=f"owl {NASTY}")
    train_run(run, data_dir, threads=1)
    run.append_sample({"step": 12, "text": f"ROMEO:\n{NASTY}\x00\x1b", "val_loss": 1.0})
    read = Reader(report_of(run, data_dir))
    assert f"owl {NASTY}" in read.text and f"ROMEO:\n{NASTY}��" in read.text and f'"{NASTY}' in read.text
    assert "script" not in read.tags


def test_it_tells_the_runs_own_numbers(trained, data_dir):
    read, status = Reader(report_of(trained, data_dir)), trained.status()
    assert f"{status.val_loss:.4f} nats" in read.text
    assert "12 of 12 steps" in read.text and "How did it learn?" in read.text
    assert facts_of(trained, data_dir).parameters == sum(
        tensor.numel()
        for tensor in __import__("core.runs.models", fromlist=["x"]).load_model(trained).model.parameters()
    )
    assert read.tags.count("svg") == 3  # curves for a wide page and a narrow one, and the attention of one head
    assert read.tags.count("img") == 2  # both heads


def test_a_fork_is_compared_with_its_parent(trained, data_dir):
    further = fork(data_dir, trained, None, trained.record().config.replace({"train.learning_rate": 5e-4}), name="fork")
    train_run(further, data_dir, threads=1)
    read = Reader(report_of(further, data_dir))
    assert f"What becomes of owl {NASTY}, trained on from its step 12, with learning rate 1e-3 → 5e-4?" in read.text
    assert "this one is" in read.text or "no difference to speak of" in read.text
    trained.delete()
    assert "What is different from the usual settings?" in Reader(report_of(further, data_dir)).text


@pytest.mark.parametrize("state", ["fresh", "bigram"])
def test_a_run_without_attention_or_numbers_has_a_report_too(data_dir, config, state):
    changes = {"model.kind": "bigram"} if state == "bigram" else {}
    run = RunFolder.create(data_dir, config.replace(changes))
    if state == "bigram":
        train_run(run, data_dir, threads=1)
        assert "What does it expect after each letter?" in Reader(report_of(run, data_dir)).text
    else:
        assert "It has not trained yet" in Reader(report_of(run, data_dir)).text


def test_only_what_tag_made_is_markup():
    assert (
        tag("p", "a < b", [tag("b", "&"), "\0"], class_='"x"') == '<p class="&quot;x&quot;">a &lt; b<b>&amp;</b>�</p>'
    )
    assert tag("p", tag("i", "x") + "<script>") == "<p>&lt;i&gt;x&lt;/i&gt;&lt;script&gt;</p>"  # a sum is text again
    assert escaped("\ud800") == "�"


def test_the_sharpest_head_looks_at_one_other_letter():
    attention = np.full((2, 3, 6, 6), 40, np.uint8)
    attention[0, 0] = np.eye(6, dtype=np.uint8) * 255  # at itself: says nothing
    attention[1, 2] = np.eye(6, k=-1, dtype=np.uint8) * 255
    assert sharpest(attention) == (1, 2)


def test_every_setting_of_a_default_run_is_told(data_dir):
    run = RunFolder.create(data_dir, RunConfig().replace({"data.corpus": "shakespeare"}))
    read = Reader(report_of(run, data_dir))
    assert "Learning rate" in read.text and "python -m core train" in read.text


def test_how_long_and_how_closely_is_no_question(trained, data_dir):
    config = trained.record().config.replace({"train.steps": 3, "train.eval_windows": 2, "train.sample_length": 5})
    further = fork(data_dir, trained, None, config)
    assert "trained on from its step 12, learn still more?" in Reader(report_of(further, data_dir)).text


def test_pieces_of_words_stand_upright_and_are_cut():
    weights = np.tril(np.ones((3, 3))) / 3
    drawn = token_map(weights, ["·Andronicus-and-more", "in", "a"], [["x"] * 3] * 3)
    assert drawn.count("rotate(-90)") == 3 and "·Andronic…" in drawn
    assert "rotate" not in token_map(weights, ["a", "b", "·"], [["x"] * 3] * 3)


def test_the_question_of_a_run_tells_the_steps_it_took(data_dir):
    run = RunFolder.create(data_dir, RunConfig().replace({"data.corpus": "shakespeare", "train.steps": 998}))
    facts = facts_of(run, data_dir)._replace(config=facts_of(run, data_dir).config.model_copy(update={"preset": None}))
    assert "in 998 steps?" in question(facts) and "in 1,900 steps?" in question(facts._replace(step=1900))
