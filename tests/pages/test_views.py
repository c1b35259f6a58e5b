"""Sections of Look inside that evaluate a model on its training text."""

import json

import pytest
from streamlit.testing.v1 import AppTest

from core.text.own_text import delete_text
from explorer.look_inside import memorization
from explorer.widgets.address import ROOT
from tests.components import wait_for_jobs


@pytest.fixture
def open_section(explorer_home):
    """Return a function that opens a section and waits for its background jobs."""

    def open_(name: str, run=None) -> AppTest:
        app = AppTest.from_file(ROOT / "pages" / "look_inside.py", default_timeout=60)
        app.query_params["view"] = name
        if run:
            app.query_params["run"] = run.id
        app.run()
        return run_with_jobs(app)

    return open_


def run_with_jobs(app: AppTest) -> AppTest:
    """Return the page after its job has ended."""
    assert not app.exception
    wait_for_jobs()
    app.run()
    assert not app.exception
    return app


def said(app: AppTest) -> str:
    shown = "\n".join(str(element.value) for kind in ("markdown", "caption", "info") for element in app.get(kind))
    return shown.replace("\\", "")


def drawn(app: AppTest, field: str) -> list[dict]:
    data = [json.loads(component.proto.json or "{}") for component in app.get("bidi_component")]
    return [one for one in data if field in one]


def figures(app: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]


def test_losses_are_shown_by_position_by_kind_and_on_a_passage(finished_run, open_section):
    app = open_section("Losses")
    for title in ("Loss by position", "Loss by kind of token", "Loss on a held-out passage"):
        assert title in said(app)
    assert "With one token of context the loss is" in said(app) and "Hardest to predict:" in said(app)
    curve, kinds = figures(app)
    assert len(curve["data"]) == 2 and {name.strip() for name in kinds["layout"]["yaxis"]["ticktext"]} <= {
        "vowel",
        "consonant",
        "capital",
        "punctuation",
        "space",
    }
    (passage,) = drawn(app, "go")
    app.button(key="loss_passage_next").click().run()
    (other,) = drawn(app, "go")
    assert passage["tokens"] != other["tokens"] and passage["go"] != other["go"]


def test_spans_copied_from_the_training_text_are_marked_and_counted(finished_run, open_section):
    app = open_section("Text")
    assert "Memorization" in said(app)
    app.slider(key="copied_shortest_letters").set_value(2).run()
    (text,) = drawn(app, "rows")
    (row,) = text["rows"]
    assert len(row["tokens"]) == len(row["shades"]) == memorization.LENGTH
    marked = [words for words, shade in zip(row["words"], row["shades"], strict=True) if shade]
    assert marked and all("into the training text: …" in words for words in marked)
    assert (
        f"{round(100 * len(marked) / memorization.LENGTH)}% of {memorization.LENGTH} tokens are in spans of at least 2"
        in said(app)
    )
    app.button(key="copied_next").click().run()
    app = run_with_jobs(app)
    assert drawn(app, "rows")[0]["rows"][0]["tokens"] != row["tokens"]


def test_a_neuron_is_shown_with_its_top_texts_and_its_effect_on_the_logits(finished_run, open_section):
    app = open_section("Neurons")
    texts, prompt = drawn(app, "rows")
    leads = [float(row["lead"]) for row in texts["rows"]]
    assert len(leads) == 8 and leads == sorted(leads, reverse=True)
    assert texts["rows"][0]["shades"][texts["rows"][0]["strong"]] == 1
    assert len(prompt["rows"][0]["tokens"]) <= 16
    assert "Largest:" in said(app) and "Its output raises the logits of" in said(app)
    app.selectbox(key="neuron_layer").set_value(1)
    app.number_input(key="neuron").set_value(64).run()
    app = run_with_jobs(app)
    assert drawn(app, "rows")[0] != texts
    app.button(key="random_neuron").click().run()
    assert not app.exception


def test_embeddings_show_chosen_axes_the_residual_stream_and_positions(finished_run, open_section):
    app = open_section("Embeddings")
    for title in ("Directions of your choice", "Residual stream", "Position embeddings"):
        assert title in said(app)
    captions = "".join(map(str, (one["words_of"] for one in drawn(app, "words_of"))))
    assert "The first axis" in captions and "Mean cosine here:" in captions and "Mean cosine: " in said(app)
    assert len(drawn(app, "words_of")) == 3 and len(figures(app)) == 2
    app.text_input(key="axis_across_from").set_value("T⏎Ж").run()
    assert not app.exception and "has no such tokens here: Ж" in said(app)
    app.text_input(key="axis_across_from").set_value("").run()
    assert not app.exception and "needs tokens that the model knows at both ends" in said(app)
    before = drawn(app, "words_of")
    app.select_slider(key="stream_stage").set_value(2).run()
    assert not app.exception and drawn(app, "words_of") != before


@pytest.mark.parametrize("section", ["Losses", "Text", "Neurons"])
def test_without_its_text_a_section_reports_an_error(finished_run, open_section, explorer_home, section):
    delete_text(finished_run.record().config.data.corpus, explorer_home)
    app = open_section(section)
    assert "can no longer be read" in app.error[0].value
