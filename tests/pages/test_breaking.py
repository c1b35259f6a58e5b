"""Break a GPT: the reader predicts each experiment, runs it and sees it explained with its own numbers."""

import json
import time
from urllib.parse import unquote

import pytest
from streamlit.testing.v1 import AppTest

from core.interpretability import finish
from core.lessons.experiment_results import result_numbers, verdict
from core.lessons.experiments import EXPERIMENTS
from core.lessons.lesson_text import load_prose, placeholders
from core.lessons.paired_runs import ModelResult, Outcome, control_config, make_pair, train_pair
from core.text.own_text import save_text
from core.training.evaluation import run_baselines
from explorer.learn.state import StepState, load_data
from explorer.services import jobs
from explorer.widgets.address import page_file
from tests.components import wait_for_jobs
from tests.conftest import TEXT

PARTS = ("cheat", "lower", "same", "higher", "always", "went on", "recited", "not recited")


@pytest.fixture
def corpus(explorer_home):
    return save_text(TEXT * 2, "Hamlet", explorer_home)


def bench(corpus, step: str, more: str = "") -> AppTest:
    at = AppTest.from_file(page_file("learn"), default_timeout=60)
    at.query_params["lesson"], at.query_params["step"] = "break", step
    at.query_params["set"] = f"text:{corpus.name};steps:5" + more
    return at.run()


def predict(at: AppTest, step: str, curve: str = "control_lower", kind: str = "words") -> AppTest:
    at.radio(f"predict-curve-{step}").set_value(curve)
    at.radio(f"predict-kind-{step}").set_value(kind)
    return at.button("break_run").click().run()


def until_done(at: AppTest) -> AppTest:
    """Return the page after its job has ended."""
    wait_for_jobs()
    at.run()
    assert any(button.key == "break_predict" for button in at.button), [error.value for error in at.error]
    return at


def text_of(at: AppTest) -> str:
    return "\n".join(element.value for kind in (at.markdown, at.caption, at.success, at.warning) for element in kind)


def components(at: AppTest) -> list[dict]:
    return [json.loads(component.proto.json or "{}") for component in at.get("bidi_component")]


@pytest.mark.parametrize("step", ["mask", "letter", "planted"])  # the numbers of all experiments are tested below
def test_an_experiment_shows_its_result_and_explanation_after_a_prediction(corpus, step):
    at = bench(corpus, step)
    assert not at.exception and not at.error
    (path,) = [data for data in components(at) if "steps" in data]
    assert path["here"] == step and path["right"] == []
    assert not [button for button in at.button if button.key == "break_predict"]  # no result before a prediction
    at = until_done(predict(at, step))
    assert not at.exception and not at.error
    (path,) = [data for data in components(at) if "steps" in data]
    assert path["right"] == [step]  # a step is done once its result was predicted and seen
    shown = text_of(at)
    assert "Was your prediction right?" in shown and "What do the numbers show?" in shown
    assert len(at.success) + len(at.warning) == 2  # both predictions are judged
    assert "Where does it show in training health?" in shown
    assert "[See it in Training health](look_inside?view=Health)" in shown
    assert ("model.causal:false" in unquote(shown)) == (step == "mask")  # the link that trains it as a run
    assert "| control |" in shown and "{" not in shown
    assert len(at.code) >= 3  # two samples and the source


def test_an_experiment_does_not_start_until_both_questions_are_answered(corpus):
    at = bench(corpus, "mask")
    at.button("break_run").click().run()
    assert "Answer both questions first" in text_of(at)
    assert not [button for button in at.button if button.label == "Stop"]


def test_after_an_experiment_a_new_prediction_can_be_made(corpus):
    at = until_done(predict(bench(corpus, "rate"), "rate"))
    at.button("break_predict").click().run()
    assert [button for button in at.button if button.key == "break_run"]


def test_a_choice_from_the_link_is_used_and_changing_it_asks_for_a_new_prediction(corpus):
    at = until_done(predict(bench(corpus, "letter", ";letter:t"), "letter"))
    assert "Where **t** came next" in text_of(at)
    at.selectbox("lesson-break-letter-letter").set_value("b").run()
    assert [button for button in at.button if button.key == "break_run"]


def test_an_experiment_that_would_change_nothing_is_refused_in_a_sentence(corpus):
    at = bench(corpus, "tiny", ";size:30000")
    predict(at, "tiny")
    wait_for_jobs()
    at.run()
    assert "both models would be the same" in at.error[0].value.replace("\\", "")
    assert "Begin again" in [button.label for button in at.button]


def test_a_stopped_experiment_keeps_its_curves_and_can_be_restarted(corpus, monkeypatch):
    monkeypatch.setattr(jobs, "SLICE", 0.0)
    jobs._turns.take()  # another job is running
    at = predict(bench(corpus, "letter", ";letter:h"), "letter")
    while not jobs._turns._waiting:
        time.sleep(0.01)
    jobs._turns.let_others()  # until the experiment has computed its first part
    next(button for button in at.button if button.label == "Stop").click().run()
    jobs._turns.end()
    wait_for_jobs()
    at.run()
    assert not at.exception and "Stopped before it was done." in text_of(at)
    assert "gpt_explorer.figure" in str([one.proto.component_name for one in at.get("bidi_component")])
    next(button for button in at.button if button.label == "Begin again").click().run()
    assert "What do the numbers show?" in text_of(until_done(at))


@pytest.mark.parametrize("measure", ["", "phrase", "letter"])  # the measure decides which numbers there are
def test_every_placeholder_of_an_experiments_prose_has_a_number(corpus, explorer_home, measure):
    data = load_data(corpus.name, explorer_home)
    experiments = [experiment for experiment in EXPERIMENTS.values() if experiment.measure == measure]
    outcome = finish(train_pair(make_pair(experiments[0], data.text, steps=2)))
    for experiment in experiments:
        state = StepState("break", experiment.name, data, "en")
        counted = run_baselines(control_config(2), state.train_ids, state.val_ids, state.vocab_size)
        numbers = result_numbers(outcome, counted, state.vocab_size) | dict(experiment.choices)
        prose = load_prose("break", experiment.name)
        assert {"panel", "broken", "try", "read on"} <= set(prose.parts) and set(PARTS) & set(prose.parts)
        for part in PARTS:
            state.markdown(part, **numbers)
            shared = load_prose("break", "lesson").parts.get(f"{part}_otherwise", "")
            assert placeholders(shared) <= set(numbers)


@pytest.mark.parametrize(
    ("val", "last_position_loss", "shown"),
    [(2.5, 2.5, "higher"), (2.02, 2.02, "same"), (1.5, 1.5, "lower"), (0.1, 2.9, "cheat"), (float("nan"), 0, "higher")],
)
def test_a_low_loss_is_judged_by_the_loss_at_the_last_position(val, last_position_loss, shown):
    control = ModelResult([0], [2.0], [2.0], last_position_loss=2.0)
    treatment = ModelResult([0], [val], [val], last_position_loss=last_position_loss)
    assert verdict(Outcome(1, control, treatment)) == shown
