import numpy as np
import pytest
import torch
from torch.nn import functional as F

from core.interpretability import finish
from core.interpretability.ablation import Part, ablated_loss, ablation_hook, mean_activations, rank_heads
from core.interpretability.activations import compute_logits
from core.paths import gallery_dir
from core.runs.folder import RunFolder
from core.runs.weights import load_model
from core.text.batches import fixed_windows, problem_starts, split_ids
from core.text.corpora import load_ids
from core.text.tasks import answers_of
from core.training.evaluation import mean_loss
from tests.core.interpretability.conftest import SWITCHES, VOCAB_SIZE, make

WINDOWS = torch.randint(VOCAB_SIZE, (6, 13), generator=torch.Generator().manual_seed(1))
IDS = WINDOWS[:2, :-1]


def in_plain_lines(model, ids, silent, means=None):
    """Compute the logits of a plain model (layer norm, learned positions, GELU, no bias) with ablated parts.

    `silent` lists them as ("head", layer, head), ("attention", layer) or ("mlp", layer); they return 0 or their mean.
    """
    weights = model.state_dict()
    norm = lambda x, name: F.layer_norm(x, (16,), weights[f"{name}.weight"], None)  # noqa: E731
    x = weights["transformer.wte.weight"][ids] + weights["transformer.wpe.weight"][: ids.size(1)]
    for layer in (0, 1):
        name = f"transformer.h.{layer}"
        q, k, v = (norm(x, f"{name}.ln_1") @ weights[f"{name}.attn.c_attn.weight"].T).split(16, dim=-1)
        heads = []
        for head in (0, 1):
            one = slice(8 * head, 8 * head + 8)
            scores = q[..., one] @ k[..., one].transpose(1, 2) / 8**0.5
            scores = scores.masked_fill(torch.ones(ids.size(1), ids.size(1)).triu(1).bool(), float("-inf"))
            z = scores.softmax(dim=-1) @ v[..., one]
            if ("head", layer, head) in silent:
                z = z * 0 + (means[f"blocks.{layer}.attn.hook_z"][head] if means else 0)
            heads.append(z)
        out = torch.cat(heads, dim=-1) @ weights[f"{name}.attn.c_proj.weight"].T
        if ("attention", layer) in silent:
            out = out * 0 + (means[f"blocks.{layer}.hook_attn_out"] if means else 0)
        x = x + out
        hidden = F.gelu(norm(x, f"{name}.ln_2") @ weights[f"{name}.mlp.c_fc.weight"].T, approximate="tanh")
        out = hidden @ weights[f"{name}.mlp.c_proj.weight"].T
        if ("mlp", layer) in silent:
            out = out * 0 + (means[f"blocks.{layer}.hook_mlp_out"] if means else 0)
        x = x + out
    return norm(x, "transformer.ln_f") @ weights["lm_head.weight"].T


@pytest.mark.parametrize("with_means", [False, True])
@pytest.mark.parametrize(
    ("parts", "silent"),
    [
        ([Part("head", 0, 1)], [("head", 0, 1)]),
        ([Part("head", 1, 0), Part("head", 1, 1)], [("head", 1, 0), ("head", 1, 1)]),
        ([Part("attention", 1)], [("attention", 1)]),
        ([Part("mlp", 0)], [("mlp", 0)]),
        ([Part("block", 1)], [("attention", 1), ("mlp", 1)]),
        ([Part("head", 0, 0), Part("mlp", 1)], [("head", 0, 0), ("mlp", 1)]),
        ([], []),
    ],
    ids=str,
)
def test_ablated_parts_return_zero_or_their_mean(gpt, parts, silent, with_means):
    means = mean_activations(gpt, WINDOWS) if with_means else None
    torch.testing.assert_close(
        compute_logits(gpt, IDS, ablation_hook(gpt, parts, means)),
        in_plain_lines(gpt, IDS, silent, means),
        rtol=1e-3,
        atol=1e-3,
    )


def test_mean_activations_average_over_all_tokens_of_all_windows(gpt):
    caught = {}
    gpt(WINDOWS[:, :-1], hook=lambda name, tensor: caught.update({name: tensor.detach()}))
    means = mean_activations(gpt, WINDOWS)
    assert means["blocks.1.attn.hook_z"].shape == (2, 8) and means["blocks.0.hook_mlp_out"].shape == (16,)
    for name, mean in means.items():
        torch.testing.assert_close(mean, caught[name].flatten(0, 1).mean(dim=0), rtol=1e-4, atol=1e-5)


def test_ablated_loss_matches_a_plain_implementation(gpt):
    assert ablated_loss(gpt, WINDOWS, []) == pytest.approx(mean_loss(gpt, WINDOWS, 6), rel=1e-5)
    logits = in_plain_lines(gpt, WINDOWS[:, :-1], [("mlp", 0)])
    expected = float(F.cross_entropy(logits.flatten(0, 1), WINDOWS[:, 1:].flatten()))
    assert ablated_loss(gpt, WINDOWS, [Part("mlp", 0)]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("switch", [*SWITCHES, {"residual": False}], ids=str)
@pytest.mark.parametrize("with_means", [False, True])
def test_rank_heads_agrees_with_ablating_heads_one_by_one(switch, with_means):
    model = make(**switch)
    means = mean_activations(model, WINDOWS) if with_means else None
    steps = list(rank_heads(model, WINDOWS, means))
    assert [(step.done, step.total) for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [len(step.result) for step in steps] == [1, 2, 3, 4]
    whole = ablated_loss(model, WINDOWS, [])
    for layer, head, increase in finish(iter(steps)):
        alone = ablated_loss(model, WINDOWS, [Part("head", layer, head)], means)
        assert increase == pytest.approx(alone - whole, abs=1e-3)


def test_an_ablation_hook_is_reusable_and_leaves_the_model_unchanged(gpt):
    before = compute_logits(gpt, IDS)
    hook = ablation_hook(gpt, [Part("block", 0)])
    torch.testing.assert_close(compute_logits(gpt, IDS, hook), compute_logits(gpt, IDS, hook))
    np.testing.assert_array_equal(compute_logits(gpt, IDS), before)


@pytest.mark.parametrize(("part", "words"), [(Part("head", 0, 2), "head 1.3"), (Part("mlp", 2), "MLP 3")])
def test_ablating_a_missing_part_is_refused_by_name(gpt, part, words):
    with pytest.raises(ValueError, match=f"this model has no {words}"):
        ablation_hook(gpt, [part])


def test_parts_have_readable_names():
    assert [str(Part("attention", 0)), str(Part("block", 1))] == ["attention 1", "block 2"]


@pytest.mark.parametrize("name", ["grokking", "induction"])
def test_ablated_loss_of_a_task_matches_the_runs_validation_loss(name, tmp_path):
    run = RunFolder(gallery_dir() / f"gallery-{name}")
    opened, config = load_model(run), run.record().config
    ids = torch.from_numpy(load_ids(config.data.corpus, opened.tokenizer, tmp_path))
    val_ids, size = split_ids(ids, config.data.val_fraction)[1], config.model.block_size
    answers = answers_of(config.data.corpus, opened.tokenizer)
    windows = fixed_windows(val_ids, size, config.train.eval_windows, problem_starts(val_ids, size, answers))
    loss = ablated_loss(opened.model, windows, [], None, answers)
    assert loss == pytest.approx(run.rows("metrics")[-1]["val_loss"], abs=1e-5)  # the weights are stored in float16
    costs = finish(rank_heads(opened.model, windows, None, answers))
    one = costs[0]
    part = Part("head", one.layer, one.head)
    assert one.increase == pytest.approx(ablated_loss(opened.model, windows, [part], None, answers) - loss, abs=1e-5)
