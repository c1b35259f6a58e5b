import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2LMHeadModel

from core.config import ModelConfig
from core.inspection.attention import attention_patterns
from core.interop.foreign import ForeignModelError, build
from core.interop.huggingface import read_folder, write_folder
from core.model import build_model

IDS = torch.randint(300, (2, 32), generator=torch.Generator().manual_seed(0))


def test_their_model_gives_the_same_logits_and_attention_here(theirs, gpt2_folder):
    model = build(read_folder(gpt2_folder))
    with torch.no_grad():
        expected = theirs(IDS, output_attentions=True)
        logits, _ = model(IDS)
    torch.testing.assert_close(logits, expected.logits, atol=1e-4, rtol=0)
    patterns = torch.from_numpy(attention_patterns(model, IDS[0].tolist()))
    torch.testing.assert_close(patterns, torch.stack([layer[0] for layer in expected.attentions]), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bias": True},
        {"tie_weights": False},
        {"activation": "relu"},
        {"activation": "relu2"},
        {"activation": "gelu_tanh"},
        {"attention_scale": False},
        {"zero_init": True, "dropout": 0.1},
    ],
    ids=str,
)
def test_our_model_gives_the_same_logits_there(changes, tmp_path):
    torch.manual_seed(2)
    config = ModelConfig(**{"n_layer": 2, "n_head": 3, "n_embd": 24, "block_size": 32} | changes)
    model = build_model(config, 300).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    write_folder(tmp_path / "out", model)
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        torch.testing.assert_close(theirs(IDS).logits, model(IDS)[0], atol=1e-4, rtol=0)
    again = build(read_folder(tmp_path / "out"))
    with torch.no_grad():
        torch.testing.assert_close(again(IDS)[0], model(IDS)[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"kind": "bigram"}, "a bigram table"),
        ({"norm": "rms"}, "the norm 'rms'"),
        ({"position": "rope"}, "the positions 'rope'"),
        ({"activation": "swiglu"}, "the activation 'swiglu'"),
        ({"causal": False}, "no causal mask"),
        ({"softmax_over": "queries"}, "its softmax over queries"),
        ({"residual": False}, "no residual connections"),
        ({"feed_forward": False}, "no feed-forward layers"),
        ({"qk_norm": True, "bigram_start": True}, "normalised queries and keys and counted pairs"),
    ],
)
def test_what_gpt2_has_not_is_refused_before_anything_is_written(changes, part, tmp_path):
    model = build_model(ModelConfig(**{"n_layer": 1, "n_head": 2, "n_embd": 8, "block_size": 8} | changes), 9)
    with pytest.raises(ForeignModelError, match=part):
        write_folder(tmp_path / "out", model)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model_type": "llama"}, "kind 'llama'. Only GPT-2"),
        ({"n_layer": 2}, "no GPT-2 has: 'transformer.h.2."),
        ({"n_layer": 4}, "transformer.h.3.ln_1.weight is missing"),
        ({"n_embd": 96}, r"wte.weight has the shape \(300, 48\), but should have \(300, 96\)"),
        ({"vocab_size": 10**12}, "vocab_size is '1000000000000'"),
        ({"n_head": 5}, "do not fit: .* 5 heads"),
        ({"n_head": "four"}, "n_head is 'four'"),
        ({"n_inner": 7}, "feed-forward layers are 7 wide"),
        ({"activation_function": "tanh"}, "activation 'tanh' is not supported"),
        ({"layer_norm_epsilon": 1e-6}, "another epsilon"),
        ({"scale_attn_by_inverse_layer_idx": True}, "by the layer's number"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_a_sentence(gpt2_folder, changes, sentence):
    path = gpt2_folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ForeignModelError, match=sentence):
        read_folder(gpt2_folder)


def test_files_that_are_missing_damaged_or_of_another_kind_are_refused(gpt2_folder):
    weights = load_file(gpt2_folder / "model.safetensors")
    whole = (gpt2_folder / "model.safetensors").read_bytes()
    save_file(
        weights | {"transformer.ln_f.weight": torch.ones(48, dtype=torch.int64)}, gpt2_folder / "model.safetensors"
    )
    with pytest.raises(ForeignModelError, match="holds I64"):
        read_folder(gpt2_folder)
    (gpt2_folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ForeignModelError, match="damaged"):
        read_folder(gpt2_folder)
    (gpt2_folder / "model.safetensors").rename(gpt2_folder / "pytorch_model.bin")
    with pytest.raises(ForeignModelError, match="can hide programs"):
        read_folder(gpt2_folder)
    (gpt2_folder / "config.json").write_text("{")
    with pytest.raises(ForeignModelError, match="not JSON"):
        read_folder(gpt2_folder)
    (gpt2_folder / "config.json").unlink()
    with pytest.raises(ForeignModelError, match="no model's folder"):
        read_folder(gpt2_folder)
