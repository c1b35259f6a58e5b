import dataclasses

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from core.config import ModelConfig, TrainConfig
from core.errors import OutOfMemoryEstimate
from core.model import GPT, Bigram, build_model, parameter_count
from core.presets import PRESETS, preset
from core.training.cost import (
    CostCoefficients,
    MachineSpeed,
    check_fits,
    contention,
    estimate,
    memory_needed,
)
from core.training.evaluation import windows_at_once
from core.training.hardware import Hardware, memory_for_queued
from core.training.health import probe_shape
from core.training.optimizers import build_optimizer
from core.training.pace import ENOUGH, TimeLeft
from core.training.work import exact_parameters, work_of_update, work_per_token

COEFFICIENTS = CostCoefficients(
    step_seconds=1e-4,
    layer_seconds=4e-4,
    flop_seconds=5e-12,
    moved_seconds=7e-10,
    update_moved_seconds=7e-10,
    update_flop_seconds=5e-12,
)
SPEED = MachineSpeed(
    device="cpu", threads=2, float32=COEFFICIENTS, bfloat16=COEFFICIENTS, random_seconds=8e-9, token_seconds=1e-4,
    token_layer_seconds=1e-4, peak={"float32": 3e11, "bfloat16": 3e11},
)  # fmt: skip
LAPTOP = Hardware("cpu", "A small laptop", "", cores=2, memory_bytes=4 * 2**30, versions={})

SHAPE = {"n_layer": 2, "n_head": 4, "n_embd": 64, "block_size": 32}
SWITCHES = [
    {},
    {"kind": "bigram"},
    {"bias": True},
    {"tie_weights": False},
    {"dropout": 0.2},
    {"norm": "rms"},
    {"norm": "none"},
    {"position": "rope"},
    {"position": "sinusoidal"},
    {"position": "none"},
    {"activation": "relu"},
    {"activation": "swiglu"},
    {"activation": "relu2"},
    {"qk_norm": True},
    {"qk_norm": True, "position": "rope", "norm": "rms"},
    {"zero_init": True, "bigram_start": True},
    {"softmax_over": "queries"},
    {"n_kv_head": 2},
    {"attention_window": 5},
    {"attention_sink": True},
    {"gated_attention": True},
    {"token_shift": True},
    {"mixture_of_experts": True},
    {"mixture_of_experts": True, "activation": "swiglu", "bias": True, "n_expert": 3},
    {"post_norm": True, "bias": True},
    {"position": "alibi", "attention_window": 5, "dropout": 0.1},
    {"feed_forward": False, "bias": True, "dropout": 0.1},
    {"residual": False, "attention_scale": False, "causal": False},
]


def saved_numbers(config: ModelConfig, vocab_size: int, precision: str) -> float:
    """Return the number of float32 values that torch holds per token between the forward and backward pass."""
    few, many = (_bytes_held(build_model(config, vocab_size), batch, precision) for batch in (4, 8))
    return (many - few) / 4 / (4 * config.block_size)


def _bytes_held(model: GPT | Bigram, batch: int, precision: str) -> int:
    held = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage  # keep it alive, so that no address is reused
        return tensor

    ids = torch.randint(model.vocab_size, (batch, model.block_size))
    mixed = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), mixed:
        logits, _ = model(ids, ids)
    keep(logits)
    return sum(storage.nbytes() for storage in held.values())


def test_flops_per_token_match_the_palm_formula():
    config = ModelConfig(**SHAPE)
    matrices = 2 * 12 * 64 * 64 + 65 * 64
    attention = 12 * 2 * 64 * 32
    assert work_per_token(config, 65).flops == 6 * matrices + attention  # PaLM (Chowdhery 2022), appendix B


def test_flops_of_three_layers_match_torchs_flop_counter():
    three = ModelConfig(**SHAPE | {"n_layer": 3})
    model = build_model(three, 65)
    ids = torch.zeros(2, 32, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        model(ids, ids, hook=lambda name, tensor: None)  # torch does not count fused attention
    assert 3 * counter.get_total_flops() / 64 == work_per_token(three, 65).flops


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_parameter_count_is_exact_and_saved_activations_match_torch(switches):
    config = ModelConfig(**(SHAPE | switches))
    for vocab_size, precision in ((65, "float32"), (1000, "float32"), (65, "bfloat16")):
        assert exact_parameters(config, vocab_size) == parameter_count(build_model(config, vocab_size))
        assert work_per_token(config, vocab_size, precision).saved_numbers == pytest.approx(
            saved_numbers(config, vocab_size, precision), rel=0.06
        )


def test_counting_parameters_does_not_use_the_rng():
    before = torch.get_rng_state()
    assert exact_parameters(preset("gpt2").model, 50257) == 124_439_808  # the published GPT-2 small
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(
    "path", ["model.n_layer", "model.n_embd", "model.block_size", "train.batch_size", "train.steps"]
)
def test_increasing_any_size_increases_the_estimated_cost(name, path):
    config = preset(name)
    section, field = path.split(".")
    value = getattr(getattr(config, section), field)
    values = (value // 2, value) if path == "train.batch_size" else (value, 2 * value)  # 512 is the largest batch
    small, large = (estimate(config.replace({path: value}), 80, SPEED, "float32") for value in values)
    if name == "bigram" and path in ("model.n_layer", "model.n_embd"):
        assert small == large  # it has neither
        return
    assert large.seconds > small.seconds
    assert large.memory_bytes > small.memory_bytes or path == "train.steps"
    assert large.parameters >= small.parameters


def test_memory_includes_evaluation_logits_and_the_text():
    config = preset("gpt-quick").replace({"train.batch_size": 2})
    few, many = (memory_needed(config, size) for size in (100, 50_000))
    parameters, kept = (
        [count(config.model, size) for size in (100, 50_000)]
        for count in (exact_parameters, lambda *shape: work_per_token(*shape).saved_numbers)
    )
    training = 4 * 4 * (parameters[1] - parameters[0])
    # For a small batch, the probe batch of the health check needs more. The last term is the gradient of the logits.
    width = 2 * 4 * config.model.n_embd
    batch = 1.17 * 4 * (160 * (kept[1] + 50_000 + width) - 512 * (kept[0] + 100 + width))
    assert probe_shape(32, 100) == (16, 32) and probe_shape(32, 50_000) == (5, 32)
    # 64 windows of 32 tokens at once for 100 characters; for 50,000, as few as keep the logits below 32 MB.
    logits = 4 * 2 * 32 * (windows_at_once(config, 50_000) * 50_000 - 64 * 100)
    assert windows_at_once(config, 100) == 64 and windows_at_once(config, 50_000) * 32 * 50_000 <= 2**23
    assert many - few == pytest.approx(training + batch + logits, rel=1e-6)
    assert memory_needed(config, 100, text_length=20_000_000) - few == 120_000_000


def test_dropout_increases_the_estimated_memory():
    config = preset("gpt-tiny").replace({"train.batch_size": 64})
    plain, dropped = (memory_needed(config.replace({"model.dropout": share}), 65) for share in (0.0, 0.2))
    assert dropped > 1.3 * plain


def test_muon_takes_more_time_and_less_optimizer_state_than_adamw():
    config = preset("gpt-tiny")
    adamw, muon = (
        estimate(config.replace({"train.optimizer": name}), 80, SPEED, "float32") for name in ("adamw", "muon")
    )
    assert muon.seconds > adamw.seconds
    averages = [work_of_update(config.model, 80, name).state for name in ("adamw", "muon")]
    assert averages[0] == 2 * exact_parameters(config.model, 80)
    assert averages[0] - averages[1] == 4 * 12 * 128 * 128
    assert muon.memory_bytes < adamw.memory_bytes  # the batch needs more memory than Muon's update


def test_muon_update_flops_match_torchs_flop_counter():
    config = ModelConfig(n_layer=3, n_head=2, n_embd=16, block_size=8)
    model = build_model(config, 11)
    optimizer = build_optimizer(model, TrainConfig(optimizer="muon"))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    with FlopCounterMode(display=False) as counter:
        optimizer.step()
    assert counter.get_total_flops() == work_of_update(config, 11, "muon").flops


def test_evaluations_and_samples_add_to_the_estimated_time():
    config = preset("gpt-tiny")
    seldom = estimate(
        config.replace({"train.eval_interval": 2000, "train.sample_interval": 2000}), 80, SPEED, "float32"
    )
    assert seldom.seconds < estimate(config, 80, SPEED, "float32").seconds


def test_gpt2_with_batch_size_512_is_refused_on_a_machine_with_4_gb():
    expected = estimate(preset("gpt2").replace({"train.batch_size": 512}), 80, SPEED, "float32")
    with pytest.raises(OutOfMemoryEstimate, match=r"need about [\d,.]+ GB of memory, but A small laptop has 4\.0 GB"):
        check_fits(expected.memory_bytes, LAPTOP)


@pytest.mark.parametrize("name", ["gpt-quick", "gpt-fast", "bigram", "gpt-tiny"])
def test_the_cpu_presets_fit_a_small_laptop(name):
    check_fits(memory_needed(preset(name), 80), LAPTOP)


def test_a_run_that_fits_memory_exactly_is_not_refused():
    expected = estimate(preset("gpt-tiny"), 80, SPEED, "float32")
    card = dataclasses.replace(LAPTOP, device="cuda", memory_bytes=expected.memory_bytes)
    check_fits(expected.memory_bytes, card, memory_for_queued(card))
    smaller = dataclasses.replace(card, memory_bytes=expected.memory_bytes - 1)
    with pytest.raises(OutOfMemoryEstimate):
        check_fits(expected.memory_bytes, smaller, memory_for_queued(smaller))


def test_memory_used_by_other_programs_is_not_available():
    expected = estimate(preset("gpt-tiny"), 80, SPEED, "float32")
    with pytest.raises(OutOfMemoryEstimate, match=r"has 4\.0 GB, of which 50 MB are free\. Choose"):
        check_fits(expected.memory_bytes, LAPTOP, free=50 * 2**20)
    check_fits(expected.memory_bytes, LAPTOP, free=2**31)


# Seconds of the slow first steps, a usual step, an evaluation and a sample; and the relative spread of steps.
SHAPES = {
    "a compiled model": ([45.0, 3.0], 0.11, 2.0, 0.8, 0.05),
    "a small one": ([0.4, 0.05], 0.004, 0.05, 0.15, 0.3),
    "slow steps": ([9.0, 6.0], 5.0, 40.0, 12.0, 0.02),
    "long evaluations": ([0.1], 0.02, 6.0, 0.2, 0.1),
    "a shared machine": ([0.5], 0.05, 0.4, 0.5, 0.8),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_the_estimated_time_left_is_within_25_percent(shape, seed):
    first, usual, evaluation, sample, spread = SHAPES[shape]
    config, rng = TrainConfig(steps=600, eval_interval=50, sample_interval=100), np.random.default_rng(seed)
    steps = usual * rng.gamma(1 / spread**2, spread**2, config.steps)
    steps[: len(first)] = first
    done = np.arange(1, config.steps + 1)
    parts = steps + evaluation * (done % 50 == 0) + sample * (done % 100 == 0)
    time_left, estimated = TimeLeft(), []
    time_left.evaluation, time_left.sample = evaluation, sample
    for step, seconds in enumerate(steps, start=1):
        time_left.step(seconds)
        left = time_left.seconds(config, step)
        if left is not None and step <= 0.9 * config.steps:
            estimated.append(step)
            assert left == pytest.approx(sum(parts[step:]), rel=0.25)
    assert estimated and estimated[0] <= config.steps / 2


@pytest.mark.parametrize("seed", range(3))
def test_time_left_is_unbiased_on_a_machine_with_occasional_slow_steps(seed):
    """One step in six takes twelve times as long as the others, so the median differs much from the mean."""
    rng, config = np.random.default_rng(seed), TrainConfig(steps=6000)
    steps = np.where(rng.random(config.steps) < 1 / 6, 0.06, 0.005)
    time_left, ratios = TimeLeft(), []
    for step, seconds in enumerate(steps, start=1):
        time_left.step(seconds)
        left = time_left.seconds(config, step)
        if left is not None and step <= 0.9 * config.steps:
            ratios.append(left / steps[step:].sum())
    assert np.mean(ratios) == pytest.approx(1, abs=0.05)


def test_time_left_follows_the_speed_of_recent_steps():
    time_left, config = TimeLeft(), TrainConfig(steps=10_000)
    for _step in range(2000):
        time_left.step(0.02)
    for _step in range(600):  # another program runs for a minute
        time_left.step(0.1)
    assert time_left.seconds(config, 2600) == pytest.approx(740, rel=0.1)


def test_time_left_stays_available_once_shown_until_a_setting_changes():
    """Another program slows the machine down threefold for a while."""
    time_left, config = TimeLeft(), TrainConfig(steps=600)
    estimated = []
    for step, seconds in enumerate([0.1] * 40 + [0.3] * 60 + [0.1] * 60, start=1):
        time_left.step(seconds)
        estimated.append(time_left.seconds(config, step) is not None)
    first = estimated.index(True)
    assert first < 40 and all(estimated[first:])
    time_left.changed()
    time_left.step(0.1)
    assert time_left.seconds(config, 161) is None


def test_time_left_is_unknown_for_the_first_steps_and_after_a_setting_change():
    time_left, config = TimeLeft(), TrainConfig(steps=100)
    for step in range(1, ENOUGH + 3):
        time_left.step(1.0)
        assert time_left.seconds(config, step) is None
    time_left.step(1.0)
    assert time_left.seconds(config, 15) == pytest.approx(85, rel=0.05)
    time_left.changed()
    assert time_left.seconds(config, 15) is None


def test_contention_is_one_while_cores_are_free_and_rises_beyond():
    assert contention(1, 2, 0.3) == contention(2, 8, 5.0) == 1
    assert contention(1, 2, 2.0) == 1.5
    assert contention(2, 2, 2.0) == 2
