"""The GPT against its definition, its own two paths, and an independent implementation."""

import math
from itertools import product
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel

from core.config import ModelConfig
from core.model import GPT, build_model, build_uninitialized_model, parameter_count
from core.model.kv_cache import KVCache
from core.model.layers import ACTIVATIONS, NORMS, Dropout

VOCAB = 31
SMALL = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 12}


def small_gpt(seed: int = 0, **changes) -> GPT:
    torch.manual_seed(seed)
    model = build_model(ModelConfig(**SMALL | changes), VOCAB)
    for parameter in model.parameters():  # larger than at the start, so that every part matters
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def some_ids(batch: int = 2, length: int = SMALL["block_size"], seed: int = 1) -> torch.Tensor:
    return torch.randint(VOCAB, (batch, length), generator=torch.Generator().manual_seed(seed))


SWITCHES = [
    {},
    {"bias": True},
    {"tie_weights": False},
    {"causal": False},
    {"attention_scale": False},
    {"softmax_over": "queries"},
    {"residual": False},
    {"feed_forward": False},
    *({"norm": norm} for norm in ("rms", "none")),
    *({"position": position} for position in ("sinusoidal", "rope", "none")),
    *({"activation": activation} for activation in ("relu", "swiglu", "relu2")),
    {"qk_norm": True},
    {"qk_norm": True, "position": "rope"},
    {"bigram_start": True},
    {"n_kv_head": 1},
    {"token_shift": True},
    {"attention_window": 3},
    {"position": "alibi"},
    {"attention_sink": True},
    {"gated_attention": True, "n_kv_head": 1},
    {"gated_attention": True, "bias": True},
    {"post_norm": True},
    {"mixture_of_experts": True},
    {"mixture_of_experts": True, "n_expert_active": 1, "activation": "swiglu", "bias": True},
    {"post_norm": True, "norm": "rms", "residual": False},
    {"attention_window": 3, "position": "alibi", "attention_sink": True, "n_kv_head": 1},
    {"n_kv_head": 1, "qk_norm": True, "position": "rope"},
]


@pytest.mark.parametrize(("name", "table"), [("norm", NORMS), ("activation", ACTIVATIONS)])
def test_the_settings_offer_every_norm_and_activation(name, table):
    assert list(table) == list(get_args(ModelConfig.model_fields[name].annotation))


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_fused_and_hooked_forward_passes_agree(switch):
    model = small_gpt(**switch)
    ids = some_ids()
    fused, fused_loss = model(ids, ids)
    spelled_out, loss = model(ids, ids, hook=lambda name, tensor: None)
    torch.testing.assert_close(fused, spelled_out, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(fused_loss, loss)


@pytest.mark.parametrize("switch", SWITCHES[1:], ids=str)
def test_every_model_setting_changes_the_logits(switch):
    plain, switched = small_gpt(), small_gpt(**switch)
    shapes = {name: tensor.shape for name, tensor in switched.named_parameters() if name != "lm_head.weight"}
    shared = {name: tensor for name, tensor in plain.state_dict().items() if shapes.get(name) == tensor.shape}
    switched.load_state_dict(shared, strict=False)
    assert not torch.allclose(plain(some_ids())[0], switched(some_ids())[0], atol=1e-3)


@given(
    st.integers(0, SMALL["block_size"] - 2), st.integers(1, VOCAB - 1), st.sampled_from(["learned", "rope", "alibi"])
)
def test_a_later_token_never_changes_earlier_logits(position, shift, kind):
    model = small_gpt(position=kind)
    ids = some_ids(batch=1)
    changed = ids.clone()
    changed[0, position + 1 :] = (changed[0, position + 1 :] + shift) % VOCAB
    before, after = model(ids)[0], model(changed)[0]
    torch.testing.assert_close(before[:, : position + 1], after[:, : position + 1])
    assert not torch.allclose(before[:, position + 1 :], after[:, position + 1 :])


def test_without_the_mask_a_later_token_changes_earlier_logits():
    model = small_gpt(causal=False)
    ids = some_ids(batch=1)
    changed = ids.clone()
    changed[0, -1] = (changed[0, -1] + 1) % VOCAB
    assert not torch.allclose(model(ids)[0][:, 0], model(changed)[0][:, 0])


def test_softmax_over_queries_leaks_later_tokens_through_the_normalization():
    model = small_gpt(softmax_over="queries")
    ids, patterns = some_ids(batch=1), {}
    model(ids, hook=lambda name, t: patterns.setdefault(name, t) if "pattern" in name else None)
    pattern = patterns["blocks.0.attn.hook_pattern"]  # (B, H, T, T)
    torch.testing.assert_close(pattern.sum(dim=-2), torch.ones(1, 2, 12))
    assert not pattern.triu(1).any()  # the mask still hides later keys
    changed = ids.clone()
    changed[0, -1] = (changed[0, -1] + 1) % VOCAB
    assert not torch.allclose(model(ids)[0][:, 0], model(changed)[0][:, 0])


def test_initial_weights_scale_with_init_std():
    torch.manual_seed(0)
    for kind in ("gpt", "bigram"):
        small, large = (build_model(ModelConfig(kind=kind, init_std=spread), 65) for spread in (0.02, 0.2))
        for name, parameter in large.named_parameters():
            if parameter.ndim > 1:
                expected = 10 * small.get_parameter(name).std().item()
                assert parameter.std().item() == pytest.approx(expected, rel=0.05), name


def test_one_layer_without_positions_ignores_the_order_of_earlier_tokens():
    model = small_gpt(position="none", n_layer=1)
    ids = some_ids(batch=1)
    swapped = ids[:, [1, 0, *range(2, ids.size(1))]]
    torch.testing.assert_close(model(ids)[0][:, -1], model(swapped)[0][:, -1])
    assert not torch.allclose(small_gpt(n_layer=1)(ids)[0][:, -1], small_gpt(n_layer=1)(swapped)[0][:, -1])


@pytest.mark.parametrize(
    ("tied", "activation", "theirs_is"), [(True, "gelu_tanh", "gelu_new"), (False, "gelu", "gelu")]
)
def test_logits_equal_those_of_transformers_with_the_same_weights(tied, activation, theirs_is):
    config = ModelConfig(**SMALL, bias=True, tie_weights=tied, activation=activation)
    ours = small_gpt(bias=True, tie_weights=tied, activation=activation)
    theirs = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCAB,
            n_positions=config.block_size,
            n_embd=config.n_embd,
            n_layer=config.n_layer,
            n_head=config.n_head,
            tie_word_embeddings=tied,
            activation_function=theirs_is,
            attn_implementation="eager",
        )
    ).eval()
    transposed = ("c_attn.weight", "c_proj.weight", "c_fc.weight")  # theirs are convolutions: (in, out)
    weights = {name: w.T if name.endswith(transposed) else w for name, w in ours.state_dict().items()}
    report = theirs.load_state_dict(weights, strict=False)
    assert not report.unexpected_keys and not report.missing_keys
    patterns = {}
    ours(some_ids(), hook=lambda name, t: patterns.setdefault(name, t) if "pattern" in name else None)
    expected = theirs(some_ids(), output_attentions=True)
    torch.testing.assert_close(ours(some_ids())[0], expected.logits, rtol=1e-4, atol=1e-4)
    for layer, attentions in enumerate(expected.attentions):
        torch.testing.assert_close(patterns[f"blocks.{layer}.attn.hook_pattern"], attentions, rtol=1e-4, atol=1e-5)


def test_grouped_query_attention_equals_full_attention_with_repeated_keys_and_values():
    grouped = small_gpt(n_head=4, n_kv_head=2, bias=True, position="rope")
    usual = small_gpt(n_head=4, bias=True, position="rope")
    weights = dict(grouped.state_dict())
    for name, tensor in weights.items():
        if "c_attn" in name:
            queries, *shared = tensor.split((16, 8, 8))
            repeated = [part.unflatten(0, (2, 4))[[0, 0, 1, 1]].flatten(0, 1) for part in shared]
            weights[name] = torch.cat((queries, *repeated))
    usual.load_state_dict(weights)
    torch.testing.assert_close(grouped(some_ids())[0], usual(some_ids())[0], rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="n_kv_head 3 must divide n_head 4"):
        ModelConfig(n_head=4, n_kv_head=3)


def attention_of(model: GPT) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scores and the weights of the first block's heads, both (B, H, T, T)."""
    seen = {}
    model(some_ids(), hook=seen.__setitem__)
    return seen["blocks.0.attn.hook_attn_scores"], seen["blocks.0.attn.hook_pattern"]


def test_an_attention_window_of_three_masks_all_but_the_last_three_tokens():
    plain = small_gpt()
    torch.testing.assert_close(small_gpt(attention_window=12)(some_ids())[0], plain(some_ids())[0])
    _, weights = attention_of(small_gpt(attention_window=3))
    for query, key in product(range(12), range(12)):
        allowed = 0 <= query - key < 3
        assert (
            bool((weights[..., query, key] > 0).all())
            == allowed
            != ModelConfig(attention_window=3).is_masked(query, key)
        )


def test_alibi_subtracts_the_slope_of_the_head_times_the_distance():
    (scores, _), (plain, _) = (attention_of(small_gpt(position=position)) for position in ("alibi", "none"))
    for head, slope in enumerate((2**-4, 2**-8)):  # the paper's slopes for two heads
        for query, key in ((0, 0), (7, 2), (11, 0)):
            expected = plain[:, head, query, key] - slope * (query - key)
            torch.testing.assert_close(scores[:, head, query, key], expected)


def test_an_attention_sink_adds_a_zero_score_to_the_softmax_denominator():
    scores, weights = attention_of(small_gpt(attention_sink=True))
    torch.testing.assert_close(weights, scores.exp() / (1 + scores.exp().sum(dim=-1, keepdim=True)))


def test_an_attention_gate_is_a_sigmoid_and_an_open_gate_changes_nothing():
    gated, plain, seen = small_gpt(gated_attention=True), small_gpt(), {}
    plain.load_state_dict(gated.state_dict(), strict=False)
    gated(some_ids(), hook=seen.__setitem__)
    torch.testing.assert_close(
        seen["blocks.0.attn.hook_gate"],
        gated.transformer.h[0].attn.c_gate(gated.transformer.h[0].ln_1(seen["blocks.0.hook_resid_pre"])).sigmoid(),
    )
    opened = lambda name, tensor: torch.ones_like(tensor) if name.endswith("hook_gate") else None  # noqa: E731
    torch.testing.assert_close(gated(some_ids(), hook=opened)[0], plain(some_ids())[0], rtol=1e-4, atol=1e-4)


def test_a_post_norm_block_matches_torch_transformer_encoder_layer():
    block = small_gpt(post_norm=True, bias=True).transformer.h[0]
    theirs = torch.nn.TransformerEncoderLayer(16, 2, 64, dropout=0.0, activation="gelu", batch_first=True).eval()
    names = {
        "self_attn.in_proj_": "attn.c_attn.", "self_attn.out_proj.": "attn.c_proj.", "linear1.": "mlp.c_fc.",
        "linear2.": "mlp.c_proj.", "norm1.": "ln_1.", "norm2.": "ln_2.",
    }  # fmt: skip
    own = block.state_dict()
    theirs.load_state_dict({a + kind: own[b + kind] for a, b in names.items() for kind in ("weight", "bias")})
    x = torch.randn(2, 12, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.nn.Transformer.generate_square_subsequent_mask(12)
    torch.testing.assert_close(block(x), theirs(x, mask, is_causal=True), rtol=1e-4, atol=1e-4)


def test_bfloat16_logits_and_loss_are_close_to_float32():
    model, ids = small_gpt(), some_ids()
    exact, exact_loss = model(ids, ids)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, loss = model(ids, ids)
    assert rounded.dtype == torch.bfloat16 and loss.dtype == torch.float32
    assert (rounded - exact).std() < 0.03 * exact.std()
    assert loss.item() == pytest.approx(exact_loss.item(), rel=0.03)


def test_the_initial_loss_is_that_of_a_uniform_guess():
    for seed, (kind, norm) in enumerate(product(("gpt", "bigram"), ("layer", "rms"))):
        torch.manual_seed(seed)
        model = build_model(ModelConfig(kind=kind, norm=norm), 65)
        ids = torch.randint(65, (8, 65))
        _, loss = model(ids[:, :-1], ids[:, 1:])
        assert abs(loss.item() - math.log(65)) < 0.1


def test_gpt2_small_has_124_million_parameters():
    with torch.device("meta"):
        model = build_model(ModelConfig(n_layer=12, n_head=12, n_embd=768, block_size=1024, bias=True), 50257)
    assert parameter_count(model) == 124_439_808  # the figure published for GPT-2 small


MODERN = {"position": "rope", "qk_norm": True, "bigram_start": True, "norm": "rms", "activation": "relu2"}


@pytest.mark.parametrize(
    "switch", [switch for switch in [*SWITCHES, MODERN] if not ModelConfig(**switch).sees_ahead], ids=str
)
@pytest.mark.parametrize("pieces", [(12,), (5, 7), (1,) * 12, (4, 1, 7)], ids=str)
def test_chunked_reading_with_the_kv_cache_gives_the_same_logits(switch, pieces):
    model = small_gpt(**switch)
    ids = some_ids()
    cache = KVCache(model.config, batch_size=2)
    parts = [model(part, cache=cache)[0] for part in ids.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(ids)[0], rtol=1e-4, atol=1e-4)


def test_the_hook_is_called_at_every_hook_point_with_its_shape():
    model = small_gpt()
    seen = {}
    model(some_ids(), hook=lambda name, tensor: seen.setdefault(name, tuple(tensor.shape)) and None)
    stream, heads, pattern = (2, 12, 16), (2, 12, 2, 8), (2, 2, 12, 12)
    block = {
        "hook_resid_pre": stream,
        "attn.hook_q": heads,
        "attn.hook_k": heads,
        "attn.hook_v": heads,
        "attn.hook_attn_scores": pattern,
        "attn.hook_pattern": pattern,
        "attn.hook_z": heads,
        "hook_attn_out": stream,
        "hook_resid_mid": stream,
        "mlp.hook_pre": (2, 12, 64),
        "mlp.hook_post": (2, 12, 64),
        "hook_mlp_out": stream,
        "hook_resid_post": stream,
    }
    assert seen == {
        "hook_embed": stream,
        "hook_pos_embed": stream,
        **{f"blocks.{layer}.{name}": shape for layer in range(2) for name, shape in block.items()},
        "ln_final.hook_normalized": stream,
    }


def test_the_hook_sees_the_bigram_table_lookup():
    model = small_gpt(bigram_start=True)
    seen = {}
    logits, _ = model(some_ids(), hook=seen.__setitem__)
    assert torch.equal(seen["hook_bigram"], model.bigram.weight[some_ids()])
    without, _ = model(some_ids(), hook=lambda name, t: torch.zeros_like(t) if name == "hook_bigram" else None)
    torch.testing.assert_close(logits - without, seen["hook_bigram"], rtol=1e-4, atol=1e-4)


def test_blocks_with_zero_init_return_their_input():
    seen = {}
    build_model(ModelConfig(**SMALL, zero_init=True), VOCAB)(some_ids(), hook=seen.__setitem__)
    assert torch.equal(seen["blocks.0.hook_resid_pre"], seen["blocks.1.hook_resid_post"])
    with pytest.raises(ValueError, match="zero_init needs residual"):
        ModelConfig(zero_init=True, residual=False)


def test_start_from_counts_makes_the_model_predict_smoothed_pair_counts():
    model = build_model(ModelConfig(**SMALL, bigram_start=True), 3)
    torch.nn.init.zeros_(model.lm_head.weight)  # the blocks contribute nothing
    model.start_from_counts(torch.tensor([0, 1, 0, 1, 0, 2]))
    belief = model(torch.tensor([[0, 1, 2]]))[0][0].softmax(dim=-1)
    expected = torch.tensor([[1, 3, 2], [3, 1, 1], [1, 1, 1]])  # pair counts, plus one
    torch.testing.assert_close(belief, expected / expected.sum(dim=1, keepdim=True))


def test_a_tensor_returned_by_the_hook_replaces_the_activation():
    model = small_gpt()
    silenced = model(some_ids(), hook=lambda name, t: torch.zeros_like(t) if name.endswith(("z", "mlp_out")) else None)
    embedded = model.transformer.wte(some_ids()) + model.transformer.wpe.weight
    torch.testing.assert_close(silenced[0], model.lm_head(model.transformer.ln_f(embedded)))


def test_a_context_too_long_is_refused():
    with pytest.raises(ValueError, match="13 tokens do not fit into a context of 12"):
        small_gpt()(some_ids(length=13))


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_zeroes_the_requested_share_and_rescales_the_rest(share, dtype):
    torch.manual_seed(0)
    output = Dropout(share)(torch.ones(401, 1003, dtype=dtype))  # not a multiple of four
    assert (output == 0).float().mean() == pytest.approx(share, abs=4 * (share * (1 - share) / output.numel()) ** 0.5)
    assert output.max().item() == pytest.approx(1 / (1 - share), rel=0.005)
    assert len(output.unique()) == 2


def test_dropout_masks_neighboring_elements_independently():
    torch.manual_seed(0)
    centered = (Dropout(0.5)(torch.ones(400_000)) != 0).float() - 0.5
    for distance in range(1, 9):
        assert abs((centered[distance:] * centered[:-distance]).mean() * 4) < 0.01


def test_dropout_gradients_use_the_mask_of_the_forward_pass():
    x = torch.randn(50, 7, requires_grad=True)
    y = Dropout(0.3)(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad * x, y)


def test_dropout_is_the_identity_in_eval_mode_or_at_rate_zero():
    x = torch.randn(9)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


@pytest.mark.parametrize(
    "config", [ModelConfig(n_layer=2, n_head=2, n_embd=8, block_size=8), ModelConfig(kind="bigram")]
)
def test_an_uninitialized_model_uses_no_rng_and_works_after_loading_weights(config):
    full = build_model(config, 7).eval()
    state = torch.get_rng_state()
    loaded = build_uninitialized_model(config, 7).eval()
    assert torch.equal(torch.get_rng_state(), state)
    loaded.load_state_dict(full.state_dict())
    ids = torch.arange(8)[None] % 7
    assert torch.equal(loaded(ids)[0], full(ids)[0])
