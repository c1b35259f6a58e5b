"""Decoding token by token with a cache gives the logits of the forward pass, for every variant."""

import pytest
import torch

from core.config import ModelConfig
from core.fast.decode import Decoder
from tests.core.model.test_gpt import MODERN, SMALL, SWITCHES, small_gpt, some_ids

LENGTH = SMALL["block_size"]
CAUSAL = [
    switch for switch in [*SWITCHES, MODERN, {"bias": True, "norm": "rms"}] if not ModelConfig(**switch).sees_ahead
]


@pytest.mark.parametrize("switch", CAUSAL, ids=str)
@pytest.mark.parametrize("read", [0, 1, 7])
def test_decoding_gives_the_logits_of_the_forward_pass(switch, read):
    model, ids = small_gpt(**switch), some_ids(batch=1)
    expected = model(ids)[0][0]
    decoder = Decoder(model)
    if read:
        torch.testing.assert_close(decoder.read(ids[0, :read].tolist()), expected[read - 1], rtol=1e-4, atol=1e-4)
    steps = torch.stack([decoder.step(id) for id in ids[0, read:].tolist()])
    torch.testing.assert_close(steps, expected[read:], rtol=1e-4, atol=1e-4)


def test_reading_a_prompt_discards_the_previous_one():
    model, (first, second) = small_gpt(), some_ids()
    decoder = Decoder(model)
    decoder.read(first.tolist())
    decoder.read(second[:5].tolist())
    torch.testing.assert_close(decoder.step(int(second[5])), model(second[None, :6])[0][0, -1], rtol=1e-4, atol=1e-4)


def test_a_decoder_uses_weights_changed_in_place():
    model, ids = small_gpt(bias=True), some_ids(batch=1)
    decoder = Decoder(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.7)
    decoder.read(ids[0, :4].tolist())
    torch.testing.assert_close(decoder.step(int(ids[0, 4])), model(ids[:, :5])[0][0, -1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bias", [False, True])
def test_large_matrices_in_their_own_layout_give_the_same_logits(bias):
    model = small_gpt(n_embd=192, n_head=2, bias=bias)
    assert model.transformer.h[0].mlp.c_fc.weight.numel() > 100_000
    ids = some_ids(batch=1)
    decoder = Decoder(model)
    steps = torch.stack([decoder.step(id) for id in ids[0].tolist()])
    torch.testing.assert_close(steps, model(ids)[0][0], rtol=1e-4, atol=1e-4)


def test_dropout_is_off_while_decoding():
    model, ids = small_gpt(dropout=0.5), some_ids(batch=1)
    expected = model(ids)[0][0]
    model.train()
    decoder = Decoder(model)
    steps = torch.stack([decoder.step(id) for id in ids[0].tolist()])
    torch.testing.assert_close(steps, expected, rtol=1e-4, atol=1e-4)


def test_a_full_context_is_refused():
    decoder = Decoder(small_gpt())
    decoder.read(some_ids(batch=1)[0].tolist())
    with pytest.raises(ValueError, match="13 tokens do not fit into a context of 12"):
        decoder.step(0)
