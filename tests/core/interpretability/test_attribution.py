import numpy as np
import pytest
import torch

from core.interpretability.activations import PartError
from core.interpretability.attribution import attribute
from tests.core.interpretability.conftest import SWITCHES, make, run_with_hooks

IDS = [3, 1, 4, 1, 5, 9]


@pytest.mark.parametrize("switch", [*SWITCHES, {"bias": True, "norm": "none"}, {"bias": True, "norm": "rms"}], ids=str)
@pytest.mark.parametrize("against", ["zero", "mean", 7])
@pytest.mark.parametrize("position", [-1, 2])
def test_contributions_sum_to_the_logit(switch, against, position):
    model = make(**switch)
    logits = run_with_hooks(model, IDS)[position]
    shares = attribute(model, IDS, token=5, against=against, position=position)
    reference = {"zero": 0.0, "mean": logits.mean()}.get(against, logits[7])
    assert shares.logit == pytest.approx(logits[5] - reference, abs=1e-4)
    assert shares.total == pytest.approx(shares.logit, abs=1e-4)
    assert sum(share for _, share in shares.shares()) == pytest.approx(shares.total)


@pytest.mark.parametrize("norm", ["layer", "rms", "none"])
def test_each_contribution_is_the_logit_lost_without_its_part_at_a_fixed_norm_scale(norm):
    """By definition: remove one part from the last residual stream, keep the norm's scale, compute the logit."""
    model = make(norm=norm, bias=True)
    caught = {}

    def hook(name, tensor):
        caught[name] = tensor[0].detach().double()

    model(torch.tensor([IDS]), hook=hook)
    stream = caught["blocks.1.hook_resid_post"][-1]
    final, unembedding = model.transformer.ln_f, model.lm_head.weight.detach().double()

    def logit(x):
        if norm == "layer":
            x = (x - x.mean()) / torch.sqrt(((stream - stream.mean()) ** 2).mean() + 1e-5)
        if norm == "rms":
            x = x / torch.sqrt((stream**2).mean() + 1e-5)
        x = x if norm == "none" else x * final.weight.detach().double()
        x = x + final.bias.detach().double() if norm == "layer" else x
        return float(x @ unembedding[5])

    shares = attribute(model, IDS, token=5)
    whole = logit(stream)
    assert shares.embedding == pytest.approx(whole - logit(stream - caught["hook_embed"][-1]), abs=1e-4)
    assert shares.position == pytest.approx(whole - logit(stream - caught["hook_pos_embed"][-1]), abs=1e-4)
    for layer in range(2):
        assert shares.mlps[layer] == pytest.approx(
            whole - logit(stream - caught[f"blocks.{layer}.hook_mlp_out"][-1]), abs=1e-4
        )
        output = model.transformer.h[layer].attn.c_proj.weight.detach().double()
        for head in range(2):
            z = torch.zeros(16, dtype=torch.float64)
            z[head * 8 : head * 8 + 8] = caught[f"blocks.{layer}.attn.hook_z"][-1, head]
            assert shares.heads[layer, head] == pytest.approx(whole - logit(stream - output @ z), abs=1e-4)


def test_attribution_defaults_to_the_likeliest_token(gpt):
    logits = run_with_hooks(gpt, IDS)[-1]
    shares = attribute(gpt, IDS)
    assert shares.token == logits.argmax() and shares.logit == pytest.approx(logits.max(), abs=1e-4)


def test_every_part_has_a_name(gpt):
    names = [name for name, _ in attribute(gpt, IDS).shares()]
    assert names[:3] == ["token embedding", "position embedding", "counted pairs"]
    assert names[3:] == ["head 1.1", "head 1.2", "MLP 1", "head 2.1", "head 2.2", "MLP 2", "biases"]


def test_the_bigram_table_has_its_own_contribution():
    model = make(bigram_start=True)
    assert attribute(model, IDS, token=5).pairs == pytest.approx(model.bigram.weight[9, 5].item(), abs=1e-5)
    assert attribute(make(), IDS, token=5).pairs == 0


def test_a_bigram_models_logit_comes_only_from_the_embedding(bigram):
    shares = attribute(bigram, IDS, against="mean")
    row = bigram.token_embedding_table.weight[9].detach().numpy()
    assert shares.embedding == shares.logit == pytest.approx(row.max() - row.mean(), abs=1e-5)
    assert shares.total == shares.logit and shares.heads.shape == (0, 0)
    np.testing.assert_array_equal(shares.mlps, [])


def test_attribution_is_refused_without_residual_connections_or_with_post_norm():
    with pytest.raises(PartError, match="no residual connections: each part replaces what came before"):
        attribute(make(residual=False), IDS)
    with pytest.raises(PartError, match="post-norm"):
        attribute(make(post_norm=True), IDS)
