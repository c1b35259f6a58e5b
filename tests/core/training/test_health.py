"""Health measurements are right, do not change training, and detect failing trainings."""

from pathlib import Path

import numpy as np
import pytest
import torch

from core.lessons.experiments import EXPERIMENTS, Experiment
from core.lessons.paired_runs import make_pair
from core.text.corpora import load_corpus
from core.training.health import BINS, Health, measure_health, read_health
from core.training.health_readings import SENTENCES, Reading, read_all, troubles


def train(trainer, steps: int) -> list[Health]:
    history = [trainer.health()]
    for _ in range(steps):
        trainer.train_step(measure_update=True)
        history.append(trainer.health())
    return [health for health in history if health]


def test_measuring_health_does_not_change_training(small, make_trainer):
    plain, measured = make_trainer(small), make_trainer(small)
    losses = [plain.train_step().loss for _ in range(6)]
    others = torch.get_rng_state()
    for loss in losses:
        assert measured.train_step(measure_update=True).loss == loss
        gradients = [parameter.grad.clone() for parameter in measured.model.parameters()]
        assert measured.health()
        assert measured.model.training
        for parameter, gradient in zip(measured.model.parameters(), gradients, strict=True):
            assert torch.equal(parameter.grad, gradient)
    assert torch.equal(torch.get_rng_state(), others)
    states = plain.state_dict(), measured.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_health_updates_measure_the_relative_change_of_the_last_step(small, make_trainer):
    trainer = make_trainer(small)
    before = trainer.model.transformer.wte.weight.detach().clone()
    trainer.train_step(measure_update=True)
    change = (trainer.model.transformer.wte.weight.detach() - before).norm() / before.norm()
    updates = trainer.health().updates
    assert updates["wte"] == pytest.approx(change.item(), rel=1e-5)
    assert {"h.0.attn.c_attn", "h.1.mlp.c_proj", "wpe"} <= updates.keys()
    trainer.train_step()
    assert trainer.health().updates == {}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"feed_forward": False},
        {"activation": "swiglu"},
        {"causal": False, "norm": "none"},
        {"softmax_over": "queries", "zero_init": True},
    ],
)
def test_health_arrays_have_their_shapes_and_survive_serialization(small, make_trainer, changes):
    config = small.replace({f"model.{name}": value for name, value in changes.items()})
    health = train(make_trainer(config), 1)[-1]
    units = 0 if changes.get("feed_forward") is False else 2
    assert health.activations.shape == health.gradients.shape == (2, BINS)
    assert health.dead.shape == (units,) and health.entropy.shape == (2, 2)
    assert health.norms.shape == (5 if units else 3,)
    np.testing.assert_allclose(health.activations.sum(axis=1), 1, rtol=1e-5)
    assert (health.entropy > 0.5).all() and (health.entropy <= 1.0001).all()
    written = read_health(health.row())
    for name in Health._fields[3:]:
        np.testing.assert_allclose(getattr(written, name), getattr(health, name), rtol=1e-3)
    assert set(read_all(written)) == set(read_all(health))


def test_a_bigram_or_an_invalid_row_has_no_health(small, make_trainer):
    assert make_trainer(small.replace({"model.kind": "bigram"})).health() is None
    row = train(make_trainer(small), 0)[0].row()
    for broken in ({}, {"step": 0}, row | {"dead": [[1]]}, row | {"norms": ["x"]}, row | {"entropy": [float("nan")]}):
        assert read_health(broken) is None


def test_an_overflowing_model_has_no_health(small, make_trainer):
    trainer = make_trainer(small)
    with torch.no_grad():
        trainer.model.transformer.wte.weight.fill_(float("inf"))
    assert trainer.health() is None


def test_dead_relu_units_are_counted(small, make_trainer):
    trainer = make_trainer(small.replace({"model.activation": "relu", "model.bias": True}))
    fc = trainer.model.transformer.h[1].mlp.c_fc
    with torch.no_grad():
        fc.bias[: len(fc.bias) // 4] = -100
    health = trainer.health()
    assert health.dead.tolist() == [0, 0.25]
    reading = read_all(health)["dead"]
    assert reading.trouble and "Block 2's MLP is 25% dead" in reading.sentence


def test_the_probe_batch_stays_small_for_any_context(small, make_trainer):
    trainer, sizes = make_trainer(small), []
    trainer.model.register_forward_pre_hook(lambda _model, args: sizes.append(tuple(args[0].shape)))
    for windows in (torch.zeros(400, 9, dtype=torch.int64), torch.zeros(3, 9, dtype=torch.int64)):
        measure_health(trainer.model, windows, 0, 1.0, {})
    assert sizes == [(64, 8), (3, 8)]


SHAKESPEARE = load_corpus("shakespeare", Path())[:40_000]
RELU = {"model.activation": "relu", "train.learning_rate": 0.18}
STACKED = {"model.norm": "none", "model.residual": False, "model.n_layer": 4}
SICK = {
    "norm": (EXPERIMENTS["norm"], {"activations tiny"}),
    "scaling": (EXPERIMENTS["scaling"], {"entropy saturated"}),
    "start": (EXPERIMENTS["start"], {"activations large", "entropy saturated"}),
    "residual": (EXPERIMENTS["residual"], {"gradients vanishing"}),
    "rate": (EXPERIMENTS["rate"], {"updates unsteady", "norms exploding"}),
    "dead": (Experiment("rate", RELU), {"dead many", "updates unsteady"}),
    "stacked": (Experiment("norm", STACKED), {"gradients vanishing", "norms vanishing", "activations tiny"}),
}


@pytest.fixture(scope="module")
def control() -> list[Health]:
    return train(make_pair(EXPERIMENTS["norm"], SHAKESPEARE, steps=400).control, 20)


@pytest.mark.parametrize("name", SICK)
def test_each_failing_training_shows_its_expected_warnings(name, control):
    experiment, kinds = SICK[name]
    sick = train(make_pair(experiment, SHAKESPEARE, steps=400).treatment, 20)
    assert kinds <= {reading.kind for _step, reading in troubles(sick)}
    assert not troubles(control)


def test_every_health_reading_fills_its_sentence(control):
    readings = [reading for health in control for reading in read_all(health).values()]
    assert all("{" not in reading.sentence for reading in readings)
    assert {reading.kind.split()[0] for reading in readings} == {kind.split()[0] for kind in SENTENCES}
    assert not Reading("dead none", {}).trouble


def test_slow_updates_are_reported_only_while_the_learning_rate_is_high(control):
    slow = control[-1]._replace(updates={"wte": 1e-5})
    assert read_all(slow._replace(rate=1.0))["updates"].kind == "updates slow"
    assert read_all(slow._replace(rate=0.1))["updates"].kind == "updates ending"


def test_one_head_with_low_entropy_is_not_reported_as_trouble(small, make_trainer):
    health = make_trainer(small).health()
    sharp = health._replace(entropy=np.array([[0.05, 0.9], [0.5, 0.5]]))
    reading = read_all(sharp)["entropy"]
    assert reading.kind == "entropy sharp" and "Head 1.1" in reading.sentence and not reading.trouble
