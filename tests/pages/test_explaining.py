"""The panels that explain one prediction: logit lens, attribution, patching, one attention weight."""

import json

import pytest
from streamlit.testing.v1 import AppTest

from core.config import ModelConfig
from core.model import build_model
from core.runs.model_files import import_model
from core.training.checkpoints import save_weights
from explorer.services import jobs
from explorer.widgets.address import ROOT
from tests.components import wait_for_jobs
from tests.core.import_export.conftest import bpe_folder, gpt2_folder, theirs  # noqa: F401 - fixtures


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
    """Return all sentences without Markdown escapes."""
    shown = [str(e.value) for kind in ("markdown", "caption", "info", "error") for e in app.get(kind)]
    return "\n".join(shown).replace("\\", "")


def charts(app: AppTest) -> dict[str, dict]:
    return {chart.proto.id.rsplit("-", 1)[-1]: json.loads(chart.proto.spec) for chart in app.get("plotly_chart")}


def rebuild(run, **settings) -> None:
    """Replace the run's model by another."""
    record = run.record()
    config = record.config.model_copy(update={"model": ModelConfig(**settings)})
    run.write_record(record.model_copy(update={"config": config}))
    vocab_size = len(json.loads(run.tokenizer_path.read_text())["tokens"])
    for _, path in run.snapshots():
        path.unlink()
    save_weights(run.weights_path, build_model(config.model, vocab_size), 20)


def test_attribution_adds_up_and_follows_the_chosen_token_and_rival(app, finished_run):
    at(app, "Predictions")
    bars = charts(app)["attribution"]["data"][0]
    assert sum(bars["x"][:-1]) == pytest.approx(bars["x"][-1])
    assert "Logit of" in said(app)
    token, rival = app.selectbox(key="attributed_token"), app.selectbox(key="attribution_baseline")
    token.select_index(3)
    rival.select_index(4).run()
    assert not app.exception
    assert " minus that of '" in said(app)
    app.selectbox(key="attribution_baseline").select_index(1).run()
    assert "above the mean over all tokens" in said(app)


def test_attribution_starts_at_the_most_likely_token_of_each_prompt(app, finished_run):
    at(app, "Predictions")
    likeliest = []
    for prompt in ("to be or not", "Whether"):
        app.text_input(key="inspect_prompt").set_value(prompt).run()
        box = app.selectbox(key="attributed_token")
        likeliest.append(box.value)
        assert box.index == 0
    app.selectbox(key="attributed_token").select_index(3).run()
    app.selectbox(key="attribution_baseline").select_index(2).run()
    assert app.selectbox(key="attributed_token").index == 3
    app.text_input(key="inspect_prompt").set_value("to be or not").run()
    assert app.selectbox(key="attributed_token").value == likeliest[0]


def test_without_residual_connections_a_sentence_replaces_attribution(app, finished_run):
    rebuild(finished_run, n_layer=2, n_head=2, n_embd=16, block_size=16, residual=False)
    at(app, "Predictions")
    assert "no residual connections" in said(app)
    assert "Logit lens" in said(app) and "attribution" not in charts(app)


@pytest.mark.parametrize(
    ("view", "offered", "not_offered"),
    [
        ("Surgery", "block 1", "MLP 1"),
        ("Patching", "Attention", "MLP"),
        ("Predictions", "Memorization", "Neurons"),
    ],
)
def test_without_feed_forward_layers_no_view_offers_mlps_or_neurons(app, finished_run, view, offered, not_offered):
    rebuild(finished_run, n_layer=2, n_head=2, n_embd=16, block_size=16, feed_forward=False)
    choices = "".join(str(group.proto) for group in at(app, view).get("button_group"))
    assert offered in choices and not_offered not in choices


def test_a_bigram_has_neither_logit_lens_nor_attribution(app, finished_run):
    rebuild(finished_run, kind="bigram", block_size=8)
    at(app, "Predictions")
    assert not charts(app) and "Logit lens" not in said(app)


def mapped(app: AppTest) -> dict:
    """Return the patching map after its job has ended."""
    while any(not job.ended for job in list(jobs._jobs.values())):
        wait_for_jobs()
    app.run()
    assert not app.exception
    return charts(app)["patches"]["data"][0]


def test_patching_proposes_a_prompt_that_differs_in_one_token_and_maps_every_patch(app, finished_run):
    at(app, "Patching")
    other = app.text_input(key="inspect_prompt_2").value
    assert len(other) == len("to be or not") and other != "to be or not"
    assert [one == two for one, two in zip(other, "to be or not", strict=True)].count(False) == 1
    assert len(mapped(app)["text"]) == 3 and len(mapped(app)["text"][0]) == len(other)
    assert "The prompts differ at" in said(app)
    app.segmented_control(key="patch_what").set_value("Attention").run()
    assert len(mapped(app)["text"]) == 2
    assert "Attention: block" in said(app)


def test_the_proposed_prompt_follows_the_first_one_until_the_user_types_another(app, finished_run):
    at(app, "Patching")
    app.text_input(key="inspect_prompt").set_value("the question").run()
    assert app.text_input(key="inspect_prompt_2").value.startswith("the quest")
    app.text_input(key="inspect_prompt_2").set_value("the questiom").run()
    app.text_input(key="inspect_prompt").set_value("the questiot").run()
    assert app.text_input(key="inspect_prompt_2").value == "the questiom"


@pytest.mark.parametrize(
    "other, sentence",
    [("to be", "must have the same length"), ("to be or not", "no difference to trace"), ("", "Two prompts")],
)
def test_prompts_that_cannot_be_compared_are_refused_in_a_sentence(app, finished_run, other, sentence):
    at(app, "Patching")
    app.text_input(key="inspect_prompt_2").set_value(other).run()
    assert not app.exception
    assert sentence in said(app)


@pytest.mark.parametrize("residual", [True, False])
def test_patching_works_for_a_single_letter_and_without_residual_connections(app, finished_run, residual):
    rebuild(finished_run, n_layer=2, n_head=2, n_embd=16, block_size=16, residual=residual)
    at(app, "Patching", "t")
    assert mapped(app)["text"]


def components(app: AppTest, field: str) -> list[dict]:
    """Return the data of the page's components that have the field."""
    data = [json.loads(component.proto.json or "{}") for component in app.get("bidi_component")]
    return [one for one in data if field in one]


def test_attention_shows_arcs_of_a_head_the_layer_mean_and_the_rollout(app, finished_run):
    at(app, "Attention")
    (arcs,) = components(app, "nobody")
    assert arcs["row"] == 11 and len(arcs["tokens"]) == 12
    assert "In head 1.1, other tokens attend most to" in said(app)
    for picture, words in (("Mean of its layer", "the mean over"), ("Rollout", "the largest share at")):
        app.segmented_control(key="inspect_over").set_value(picture).run()
        assert not app.exception
        assert words in said(app) and "inspect_over_map" in charts(app)


def test_the_attention_weight_of_the_chosen_query_and_key_is_explained(app, finished_run):
    at(app, "Attention")
    app.selectbox(key="cell_query").set_value(4)
    app.selectbox(key="cell_key").set_value(2).run()
    assert not app.exception
    shown = said(app)
    assert "Computing one attention weight, head 1.1" in shown and "'e' (token 5) attends" in shown
    (cell,) = [one for one in components(app, "steps") if "run" not in one]
    assert len(cell["steps"]) == 8
    app.selectbox(key="cell_key").set_value(9).run()
    assert "which comes later" in said(app)
    app.text_input(key="inspect_prompt").set_value("to").run()
    assert not app.exception
    assert app.selectbox(key="cell_query").value <= 1 and app.selectbox(key="cell_key").value <= 1


@pytest.mark.parametrize("view", ["Attention", "Predictions", "Patching"])
def test_a_model_with_subword_tokens_opens_in_every_view(app, explorer_home, gpt2_folder, view):  # noqa: F811 - a fixture
    run = import_model(explorer_home, gpt2_folder)
    app.query_params["run"] = run.id
    at(app, view, "To be, or not to be")
    if view == "Patching":
        assert mapped(app)["text"]
