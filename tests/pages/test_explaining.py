"""The panels that explain one answer: lens, attribution, patching, one cell's arithmetic."""

import json

import pytest
from streamlit.testing.v1 import AppTest

from core.config import ModelConfig
from core.model import build_model
from core.training.checkpoints import save_weights
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
