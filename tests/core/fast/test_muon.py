"""Muon against torch's implementation and against the definition of orthogonality."""

import pytest
import torch

from core.config import ModelConfig, TrainConfig
from core.fast.muon import _COEFFICIENTS, _ITERATIONS, Muon, orthogonalize
from core.model import build_model
from core.training.hardware import knows_bfloat16
from core.training.optimizers import build_optimizer, set_learning_rates

SHAPES = [(16, 16), (16, 16), (64, 16), (16, 64), (24, 8)]
MUON = TrainConfig(optimizer="muon", learning_rate=3e-3, muon_learning_rate=0.05, muon_momentum=0.9)


def matrices(seed: int) -> list[torch.nn.Parameter]:
    rng = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=rng)) for shape in SHAPES]


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_muon_takes_the_same_steps_as_torchs_muon(weight_decay):
    settings = {"lr": 0.02, "momentum": 0.95, "weight_decay": weight_decay}
    ours, theirs = matrices(0), matrices(0)
    one, other = Muon(ours, **settings), torch.optim.Muon(theirs, **settings)
    for step in range(5):
        for left, right, gradient in zip(ours, theirs, matrices(step + 1), strict=True):
            left.grad = right.grad = gradient.detach()
        one.step()
        other.step()
    for left, right, start in zip(ours, theirs, matrices(0), strict=True):
        moved = (right - start).norm()
        assert (left - right).norm() < 0.02 * moved  # torch's version multiplies in bfloat16, with three digits


def test_stacked_matrices_are_updated_as_separate_matrices():
    rng = torch.Generator().manual_seed(5)
    start, gradient = torch.randn(24, 8, generator=rng), torch.randn(24, 8, generator=rng)
    stacked = torch.nn.Parameter(start.clone())
    alone = [torch.nn.Parameter(part.clone()) for part in start.chunk(3)]
    stacked.grad = gradient
    for weight, part in zip(alone, gradient.chunk(3), strict=True):
        weight.grad = part
    Muon([{"params": [stacked], "parts": (8, 8, 8)}]).step()
    Muon(alone).step()
    torch.testing.assert_close(stacked, torch.cat(alone))


def test_row_normalization_matches_normuon_and_keeps_the_update_norm():
    """Against NorMuon's algorithm (Li 2025), matrix by matrix; its bias correction cancels in the rescaling."""
    ours = matrices(0)
    plain, normal = Muon(matrices(0), lr=1.0), Muon(ours, lr=1.0, normalize_rows=True)
    squares = [torch.zeros(len(weight)) for weight in ours]
    for step in range(4):
        (alone,) = (group["params"] for group in plain.param_groups)
        before = [[weight.detach().clone() for weight in each] for each in (alone, ours)]
        for left, right, gradient in zip(alone, ours, matrices(step + 1), strict=True):
            left.grad = right.grad = gradient.detach()
        plain.step()
        normal.step()
        for place, (left, right) in enumerate(zip(alone, ours, strict=True)):
            update, evened = (each.detach() - old[place] for each, old in zip((left, right), before, strict=True))
            squares[place] = 0.95 * squares[place] + 0.05 * update.square().mean(dim=1)
            expected = update / squares[place].sqrt()[:, None]
            torch.testing.assert_close(evened, expected * update.norm() / expected.norm(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("columns", [16, 17, 64])
@pytest.mark.parametrize("height", [1e-3, 1.0, 1e9])
def test_orthogonalize_iterations_are_polynomials_of_the_singular_values(columns, height):
    """For square and for wide matrices, whose iterations use the smaller side."""
    matrices = height * torch.randn(3, 16, columns, generator=torch.Generator().manual_seed(3))
    left, values, right = torch.linalg.svd(matrices.double(), full_matrices=False)
    values = values / values.norm(dim=1, keepdim=True)
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        values = a * values + b * values**3 + c * values**5
    expected = (left * values[:, None]) @ right
    rtol = 0.05 if knows_bfloat16("cpu") else 1e-4
    torch.testing.assert_close(orthogonalize(matrices).double(), expected, rtol=rtol, atol=rtol)


def test_orthogonalize_brings_all_singular_values_near_one():
    rng = torch.Generator().manual_seed(2)
    wild = torch.randn(3, 16, 40, generator=rng) * torch.logspace(0, -1.5, 16)[:, None]
    values = torch.linalg.svdvals(orthogonalize(wild))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_a_zero_gradient_changes_no_weight():
    weight = torch.nn.Parameter(torch.ones(4, 8))
    weight.grad = torch.zeros(4, 8)
    Muon([weight]).step()
    assert torch.equal(weight, torch.ones(4, 8))


def test_muon_updates_the_block_matrices_and_adamw_the_rest():
    model = build_model(ModelConfig(n_layer=2, n_head=2, n_embd=8, block_size=4, bias=True, bigram_start=True), 5)
    optimizer = build_optimizer(model, MUON)
    set_learning_rates(optimizer, MUON, 0.5)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert len(rates) == sum(len(group["params"]) for group in optimizer.param_groups)
    for name, parameter in model.named_parameters():
        matrix = ".h." in name and name.endswith(".weight") and ".ln_" not in name
        assert rates.pop(id(parameter)) == (0.025 if matrix else 1.5e-3), name
    assert not rates


def test_a_model_without_blocks_uses_only_adamw():
    model = build_model(ModelConfig(kind="bigram"), 5)
    (optimizer,) = build_optimizer(model, MUON).optimizers
    assert isinstance(optimizer, torch.optim.AdamW)
