import copy
import math
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F
from torch.nn.utils import get_total_norm

from core.config import ModelConfig, RunConfig, TrainConfig
from core.errors import TextError, TrainingError
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.settings import value_at
from core.text.batches import IGNORED
from core.text.tasks import AnswerTokens
from core.training.schedule import learning_rate_at
from core.training.trainer import EvaluationEvent, StepEvent, Trainer, objective


def weights(trainer):
    return {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}


def equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def course(trainer):
    """Train to the end; return the step events without their durations, and the final weights."""
    steps = [event[:4] for event in trainer.events() if isinstance(event, StepEvent)]
    return steps, weights(trainer)


def test_evaluation_and_sampling_do_not_change_training(small, make_trainer):
    steps, end = course(make_trainer(small))

    often = make_trainer(small.replace({"train.eval_interval": 1, "train.eval_windows": 50}))
    seen = []
    for event in often.events():
        list(generate(often.model, [1, 2], GenerationConfig(max_new_tokens=12)))
        torch.rand(3)  # other use of the global rng
        if isinstance(event, StepEvent):
            seen.append(event[:4])
    assert seen == steps
    assert equal(weights(often), end)


def test_two_interleaved_trainers_do_not_affect_each_other(small, make_trainer):
    steps, end = course(make_trainer(small))
    first, second = make_trainer(small), make_trainer(small)
    for _ in steps:
        first.train_step()
        second.train_step()
    assert equal(weights(first), end)
    assert equal(weights(second), end)


def test_label_smoothing_and_z_loss_affect_training_but_not_the_reported_loss(small, make_trainer):
    torch.manual_seed(0)
    logits, targets = torch.randn(2, 3, 7, requires_grad=True), torch.tensor([[1, 2, IGNORED], [3, IGNORED, 0]])
    config = TrainConfig(label_smoothing=0.1, z_loss=0.01)
    flat, wanted = logits.flatten(0, 1), targets.flatten()
    squares = flat[wanted != IGNORED].exp().sum(dim=-1).log().square().mean()
    expected = F.cross_entropy(flat, wanted, ignore_index=IGNORED, label_smoothing=0.1) + 0.01 * squares
    loss = F.cross_entropy(flat, wanted, ignore_index=IGNORED)
    torch.testing.assert_close(objective(loss, logits, targets, config), expected)

    plain, smoothed = (make_trainer(small.replace({"train.label_smoothing": share})) for share in (0.0, 0.3))
    assert plain.train_step().loss == smoothed.train_step().loss
    assert not equal(weights(plain), weights(smoothed))


def test_training_leaves_the_global_rng_unchanged(small, make_trainer):
    before = torch.get_rng_state()
    make_trainer(small).train_step()
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_gives_other_weights(small, make_trainer):
    _, end = course(make_trainer(small))
    _, other = course(make_trainer(small.replace({"train.seed": 1})))
    assert not equal(end, other)


@pytest.mark.parametrize(("optimizer", "old_names"), [("adamw", False), ("muon", False), ("adamw", True)])
def test_training_continues_exactly_from_a_loaded_state(small, make_trainer, optimizer, old_names):
    small = small.replace({"train.optimizer": optimizer})
    whole = make_trainer(small)
    for _ in range(5):
        whole.train_step()
    state = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    rest = [whole.train_step()[:4] for _ in range(7)]
    if old_names:
        state = {name.replace("generator.", "dice."): tensor for name, tensor in state.items()}

    resumed = make_trainer(small.replace({"train.seed": 99}))  # its own initial state is replaced
    resumed.train_step()
    resumed.load_state_dict(state)
    assert resumed.step == 5
    assert [resumed.train_step()[:4] for _ in range(7)] == rest
    assert equal(weights(resumed), weights(whole))


def test_loading_the_initial_state_restarts_training(small, make_trainer):
    trainer = make_trainer(small)
    state = {name: tensor.clone() for name, tensor in trainer.state_dict().items()}
    first = [trainer.train_step()[:4] for _ in range(3)]
    trainer.load_state_dict(state)
    assert [trainer.train_step()[:4] for _ in range(3)] == first


def test_the_state_contains_muons_momentum_by_parameter_name(small, make_trainer):
    trainer = make_trainer(small.replace({"train.optimizer": "muon"}))
    trainer.train_step()
    state = trainer.state_dict()
    matrix = "transformer.h.0.attn.c_attn.weight"
    assert state[f"optimizer.{matrix}.momentum_buffer"].shape == state[f"model.{matrix}"].shape
    assert f"optimizer.{matrix}.exp_avg" not in state
    assert "optimizer.transformer.wte.weight.exp_avg" in state


def test_bigram_start_uses_smoothed_counts_of_the_training_split_and_is_trained(small, make_trainer):
    started = small.replace({"model.bigram_start": True, "model.zero_init": True})
    trainer = make_trainer(started)
    before = trainer.model.bigram.weight.clone()
    expected = torch.ones(11, 11)
    for left, right in zip(trainer.train_ids[:-1], trainer.train_ids[1:], strict=True):
        expected[left, right] += 1
    torch.testing.assert_close(before, (expected / expected.sum(dim=1, keepdim=True)).log())
    trainer.train_step()
    assert not torch.equal(trainer.model.bigram.weight, before)  # training changes the table


def test_a_state_of_another_model_is_refused_and_leaves_the_weights_unchanged(small, make_trainer):
    trainer, wider = make_trainer(small), make_trainer(small.replace({"model.n_embd": 32}))
    before = weights(trainer)
    with pytest.raises(TrainingError, match="to another model"):
        trainer.load_state_dict(wider.state_dict())
    assert equal(weights(trainer), before)


def test_a_single_batch_can_be_overfit():
    config = RunConfig(
        model=ModelConfig(n_layer=2, n_head=2, n_embd=32, block_size=16),
        train=TrainConfig(steps=150, batch_size=2, learning_rate=1e-2, warmup_steps=5, weight_decay=0.0),
    )
    # A text of one token more than a context has a single window, so every batch is the same.
    ids = torch.randint(20, (17,), generator=torch.Generator().manual_seed(3))
    trainer = Trainer(config, ids, ids, vocab_size=20)
    losses = [event.loss for event in trainer.events() if isinstance(event, StepEvent)]
    assert losses[0] == pytest.approx(math.log(20), abs=0.2)
    assert losses[-1] < 0.01


def test_evaluation_happens_before_the_first_step_at_every_interval_and_at_the_end(small, make_trainer):
    trainer = make_trainer(small.replace({"train.steps": 10}))
    events = list(trainer.events())
    assert [event.step for event in events if isinstance(event, StepEvent)] == list(range(1, 11))
    assert [event.step for event in events if isinstance(event, EvaluationEvent)] == [0, 4, 8, 10]
    assert list(trainer.events()) == []


def test_the_event_iterator_can_be_abandoned_and_restarted(small, make_trainer):
    trainer = make_trainer(small)
    for event in trainer.events():
        if event.step == 3:
            break
    steps, end = course(trainer)
    assert [step[0] for step in steps] == list(range(4, 13))
    assert equal(end, course(make_trainer(small))[1])


def test_a_step_event_reports_step_rate_tokens_and_time(small, make_trainer):
    trainer = make_trainer(small)
    for done in range(4):
        event = trainer.train_step()
        assert event.step == trainer.step == done + 1
        assert event.learning_rate == learning_rate_at(done, small.train)
        assert event.learning_rate == trainer.optimizer.param_groups[0]["lr"]
        assert event.tokens == 4 * 8
        assert event.seconds > 0


@pytest.mark.parametrize("clip", [0.0, 1e-3, 100.0])
def test_gradients_are_clipped_and_their_norm_before_clipping_is_reported(small, make_trainer, clip):
    trainer = make_trainer(small.replace({"train.grad_clip": clip}))
    event = trainer.train_step()
    used = get_total_norm([parameter.grad for parameter in trainer.model.parameters()]).item()
    assert used == pytest.approx(clip if clip == 1e-3 else event.grad_norm, rel=1e-2)


@pytest.mark.parametrize("not_finite", ["loss", "gradient"])
def test_a_non_finite_loss_or_gradient_stops_training_before_the_update(small, make_trainer, not_finite):
    trainer = make_trainer(small)
    trainer.train_step()
    if not_finite == "loss":
        with torch.no_grad():
            trainer.model.transformer.ln_f.weight[0] = math.nan
    else:
        trainer.model.transformer.ln_f.weight.register_hook(lambda gradient: gradient * math.inf)
    before = {name: tensor.clone() for name, tensor in trainer.state_dict().items() if "generator" not in name}
    with pytest.raises(TrainingError, match="stopped at step 2") as error:
        trainer.train_step()
    assert ("gradient" if not_finite == "gradient" else "loss (nan)") in str(error.value)
    assert trainer.step == 1
    after = trainer.state_dict()
    assert all(torch.equal(before[name].nan_to_num(), after[name].nan_to_num()) for name in before)


def test_a_changed_setting_takes_effect_from_the_next_step(small, make_trainer):
    steps, _ = course(make_trainer(small))
    for setting, value in [("train.learning_rate", 0.1), ("model.dropout", 0.5), ("train.batch_size", 7)]:
        trainer = make_trainer(small)
        events = [trainer.train_step() for _ in range(5)]
        trainer.change_setting(setting, value)
        events += [trainer.train_step() for _ in range(3)]
        assert [event[:4] for event in events[:5]] == steps[:5]
        assert events[5][:4] != steps[5]
        assert value_at(trainer.config, setting) == value


def test_changing_a_setting_and_back_between_two_steps_changes_nothing(small, make_trainer):
    steps, end = course(make_trainer(small))
    trainer = make_trainer(small)
    for _ in steps:
        trainer.change_setting("model.dropout", 0.6)
        trainer.change_setting("model.dropout", small.model.dropout)
        trainer.train_step()
    assert equal(weights(trainer), end)


def test_changing_the_number_of_steps_makes_training_longer_or_shorter(small, make_trainer):
    for steps in (6, 20):
        trainer = make_trainer(small)
        for event in trainer.events():
            if event.step == 4:
                trainer.change_setting("train.steps", steps)
        assert trainer.step == steps


def test_a_step_detail_describes_the_step_and_does_not_change_training(small, make_trainer):
    steps, end = course(make_trainer(small))
    trainer = make_trainer(small)
    for expected in steps:
        event = trainer.train_step(detailed=True)
        assert event[:4] == expected
        seen = SimpleNamespace(**trainer.step_detail)
        assert seen.step == event.step
        assert seen.inputs.shape == seen.targets.shape == seen.losses.shape == (4, 8)
        assert torch.equal(seen.inputs[:, 1:], seen.targets[:, :-1])
        assert seen.losses.mean().item() == pytest.approx(event.loss, rel=1e-5)
        assert math.hypot(*seen.gradient_norms.values()) == pytest.approx(event.grad_norm, rel=1e-5)
        assert {"wte", "wpe", "h.0.attn", "h.0.mlp", "h.1.attn", "ln_f"} <= seen.gradient_norms.keys()
        assert seen.weight_norms.keys() == seen.gradient_norms.keys()
        assert math.isfinite(seen.before) and seen.after != seen.before
    assert equal(weights(trainer), end)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_step_detail_has_the_loss_of_its_batch_before_and_after_the_update(small, make_trainer, dropout):
    trainer = make_trainer(small.replace({"model.dropout": dropout}))
    for _ in range(3):
        before = copy.deepcopy(trainer.model).eval()
        event = trainer.train_step(detailed=True)
        seen = SimpleNamespace(**trainer.step_detail)
        after = copy.deepcopy(trainer.model).eval()
        for model, measured in ((before, seen.before), (after, seen.after)):
            assert measured == pytest.approx(model(seen.inputs, seen.targets)[1].item(), rel=1e-5)
        assert (seen.before == pytest.approx(event.loss, rel=1e-5)) == (not dropout)
        assert trainer.model.training


def test_a_step_detail_does_not_change_the_dropout_rng(small, make_trainer):
    config = small.replace({"model.dropout": 0.5})
    plain, detailed = make_trainer(config), make_trainer(config)
    for _ in range(4):
        assert plain.train_step().loss == detailed.train_step(detailed=True).loss
    assert equal(plain.state_dict(), detailed.state_dict())


def test_bfloat16_training_stays_close_to_float32(small, make_trainer):
    trainer = make_trainer(small)
    mixed = Trainer(small, trainer.train_ids, trainer.train_ids, 11, precision="bfloat16")
    for _ in range(8):
        exact, rounded = trainer.train_step().loss, mixed.train_step().loss
        assert exact != rounded
        assert rounded == pytest.approx(exact, abs=0.02)
    assert all(parameter.dtype == torch.float32 for parameter in mixed.model.parameters())
    assert math.isfinite(mixed.evaluate().val_loss)


def test_a_bigram_model_trains():
    config = RunConfig(model=ModelConfig(kind="bigram", block_size=4), train=TrainConfig(steps=50, learning_rate=0.1))
    ids = torch.arange(100) % 5
    events = list(Trainer(config, ids, ids, vocab_size=5).events())
    assert events[-1].val_loss < 0.5 < events[0].val_loss


@pytest.mark.parametrize(("train", "val", "name"), [(8, 50, "training"), (50, 8, "validation")])
def test_a_split_without_one_whole_window_is_refused(small, train, val, name):
    with pytest.raises(TextError, match=f"The {name} part of the text has 8 tokens.* at least 9"):
        Trainer(small, torch.zeros(train, dtype=torch.int64), torch.zeros(val, dtype=torch.int64), 11)


@pytest.mark.parametrize(("parts", "processes"), [(2, 1), (3, 1), (64, 1), (2, 2)])
def test_a_batch_computed_in_parts_gives_the_same_losses(small, make_trainer, parts, processes):
    whole = small.replace({"model.dropout": 0.0})
    in_parts = whole.replace({"train.gradient_accumulation": parts, "train.processes": processes})
    expected, got = make_trainer(whole), make_trainer(in_parts)
    for step in range(12):
        detailed = step == 5
        one, other = expected.train_step(detailed), got.train_step(detailed)
        assert other.loss == pytest.approx(one.loss, abs=1e-6) and other.tokens == one.tokens
        assert other.grad_norm == pytest.approx(one.grad_norm, abs=1e-5)
    assert torch.allclose(got.step_detail["losses"], expected.step_detail["losses"], atol=1e-5)
    assert got.step_detail["before"] == pytest.approx(expected.step_detail["before"], abs=1e-6)
    assert got.evaluate().val_loss == pytest.approx(expected.evaluate().val_loss, abs=1e-6)


def test_answer_tokens_have_equal_weight_in_every_part_of_an_accumulated_batch(small):
    ids = torch.tensor([1, 2, 3, 4, 5, 6, 9, 7, 0, 3, 9, 3, 0, 1, 2, 9, 8, 7, 6, 0, 1, 1, 2, 2, 1, 9, 1, 0] * 8)
    config = small.replace({"model.dropout": 0.0, "model.block_size": 4, "train.batch_size": 32})
    trainers = [
        Trainer(config.replace({"train.gradient_accumulation": parts}), ids, ids, 11, answers=AnswerTokens(9, 0))
        for parts in (1, 32)
    ]
    for _ in range(12):  # in some windows no token counts
        one, other = (trainer.train_step() for trainer in trainers)
        assert other.loss == pytest.approx(one.loss, abs=1e-6)
