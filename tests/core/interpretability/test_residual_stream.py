import numpy as np
import pytest
import torch

from core.interpretability.activations import read, record
from core.interpretability.residual_stream import read_on, residual_stream, stream_at, unembed
from tests.core.interpretability.conftest import SWITCHES, VOCAB_SIZE, make

IDS = [3, 1, 4, 1, 5, 9]
PIECES = torch.tensor([IDS, IDS[::-1]])


def test_it_is_seen_between_the_blocks(gpt):
    stream, recorded = residual_stream(gpt, IDS), record(gpt, IDS)
    assert stream.shape == (3, 6, 16)
    np.testing.assert_array_equal(stream[0], recorded["blocks.0.hook_resid_pre"])
    np.testing.assert_array_equal(stream[1], recorded["blocks.0.hook_resid_post"])
    np.testing.assert_array_equal(stream[2], recorded["blocks.1.hook_resid_post"])


@pytest.mark.parametrize("switch", [*SWITCHES, {"residual": False}, {"kind": "bigram"}], ids=str)
@pytest.mark.parametrize("stage", [0, 1, 2])
def test_reading_on_from_any_stage_ends_where_the_model_does(switch, stage):
    model = make(**switch)
    stage = 0 if switch.get("kind") == "bigram" else stage
    logits = unembed(model, read_on(model, stream_at(model, PIECES, stage), stage), PIECES)
    torch.testing.assert_close(logits, read(model, PIECES), rtol=1e-4, atol=1e-4)


def test_the_tap_sees_the_block_that_follows(gpt):
    names = []
    read_on(gpt, stream_at(gpt, PIECES, 1), 1, hook=lambda name, tensor: names.append(name))
    assert names[0] == "blocks.1.hook_resid_pre" and names[-1] == "blocks.1.hook_resid_post"


def test_a_bigram_models_stream_is_its_logits(bigram):
    stream = residual_stream(bigram, IDS)
    assert stream.shape == (1, 6, VOCAB_SIZE)
    np.testing.assert_array_equal(stream[0], read(bigram, torch.tensor([IDS]))[0])
