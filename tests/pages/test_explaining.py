"""The panels that explain one answer: lens, attribution, patching, one cell's arithmetic."""

import json

import pytest
from streamlit.testing.v1 import AppTest

from core.config import ModelConfig
from core.model import build_model
from core.training.checkpoints import save_weights
from explorer import jobs
from explorer.state import ROOT


@pytest.fixture
def app(explorer_home) -> AppTest:
    return AppTest.from_file(ROOT / "pages" / "look_inside.py", default_timeout=60)


def at(app: AppTest, view: str, prompt: str = "to be or not") -> AppTest:
    app.query_params["view"] = view
    app.session_state["inspect_prompt"] = prompt
    app.run()
    assert not app.exception
    return app


def said(app: AppTest) -> str:
    return "\n".join(str(e.value) for kind in ("markdown", "caption", "info", "error") for e in app.get(kind))


def charts(app: AppTest) -> dict[str, dict]:
    return {chart.proto.id.rsplit("-", 1)[-1]: json.loads(chart.proto.spec) for chart in app.get("plotly_chart")}


def rebuild(run, **settings) -> None:
    """Another model in the place of the run's own."""
    record = run.record()
    config = record.config.model_copy(update={"model": ModelConfig(**settings)})
    run.write_record(record.model_copy(update={"config": config}))
    vocab_size = len(json.loads(run.tokenizer_path.read_text())["tokens"])
    for _, path in run.snapshots():
        path.unlink()
    save_weights(run.weights_path, build_model(config.model, vocab_size), 20)


def test_the_lens_shows_every_stage_and_says_where_the_answer_settles(app, finished_run):
    at(app, "Predictions")
    cells = charts(app)["lens"]["data"][0]
    assert len(cells["text"]) == 3 and len(cells["text"][0]) == len("to be or not")
    assert "After 't' its answer" in said(app) and "of all 12 answers here" in said(app)


def test_attribution_adds_up_for_any_token_and_rival(app, finished_run):
    at(app, "Predictions")
    bars = charts(app)["said"]["data"][0]
    assert sum(bars["x"][:-1]) == pytest.approx(bars["x"][-1])
    assert "All parts together give" in said(app)
    token, rival = app.selectbox(key="said_token"), app.selectbox(key="said_rival")
    token.select_index(3)
    rival.select_index(4).run()
    assert not app.exception
    assert "a lead of" in said(app) and "over '" in said(app).replace("\\", "")
    app.selectbox(key="said_rival").select_index(1).run()
    assert "over the average letter" in said(app)


def test_without_residual_connections_the_question_is_answered_with_a_sentence(app, finished_run):
    rebuild(finished_run, n_layer=2, n_head=2, n_embd=16, block_size=16, residual=False)
    at(app, "Predictions")
    assert "no residual connections" in said(app)
    assert "lens" in charts(app) and "said" not in charts(app)


def test_a_bigram_has_nobody_to_ask(app, finished_run):
    rebuild(finished_run, kind="bigram", block_size=8)
    at(app, "Predictions")
    assert set(charts(app)) == {"next_token"}


def mapped(app: AppTest) -> dict:
    """The map of swaps, once its job has ended."""
    while any(not job.ended for job in list(jobs._jobs.values())):
        jobs._thread.submit(lambda: None).result()
    app.run()
    assert not app.exception
    return charts(app)["patches"]["data"][0]


def test_patching_proposes_a_second_prompt_and_maps_every_swap(app, finished_run):
    at(app, "Patching")
    other = app.text_input(key="inspect_prompt_2").value
    assert len(other) == len("to be or not") and other != "to be or not"
    assert [one == two for one, two in zip(other, "to be or not", strict=True)].count(False) == 1
    assert len(mapped(app)["hovertext"]) == 3 and len(mapped(app)["hovertext"][0]) == len(other)
    assert "The prompts differ at" in said(app)
    app.segmented_control(key="patch_what").set_value("Attention").run()
    assert len(mapped(app)["hovertext"]) == 2
    assert "Of attention alone" in said(app)


def test_the_proposal_follows_the_first_prompt_but_what_was_typed_stays(app, finished_run):
    at(app, "Patching")
    app.text_input(key="inspect_prompt").set_value("the question").run()
    assert app.text_input(key="inspect_prompt_2").value.startswith("the quest")
    app.text_input(key="inspect_prompt_2").set_value("the questiom").run()
    app.text_input(key="inspect_prompt").set_value("the questiot").run()
    assert app.text_input(key="inspect_prompt_2").value == "the questiom"


@pytest.mark.parametrize(
    "other, sentence",
    [("to be", "must be equally long"), ("to be or not", "no difference to trace"), ("", "Two prompts")],
)
def test_prompts_that_cannot_be_compared_are_a_sentence(app, finished_run, other, sentence):
    at(app, "Patching")
    app.text_input(key="inspect_prompt_2").set_value(other).run()
    assert not app.exception
    assert sentence in said(app)


@pytest.mark.parametrize("residual", [True, False])
def test_patching_a_single_letter_and_a_model_without_residuals(app, finished_run, residual):
    rebuild(finished_run, n_layer=2, n_head=2, n_embd=16, block_size=16, residual=residual)
    at(app, "Patching", "t")
    assert mapped(app)["hovertext"]
