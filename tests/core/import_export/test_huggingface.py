import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from core.config import ModelConfig
from core.import_export.external_weights import ExternalModelError, build
from core.import_export.huggingface import layout_for, read_folder, write_folder
from core.interpretability.attention import attention_patterns
from core.model import build_model
from core.presets import PRESETS

IDS = torch.randint(300, (2, 32), generator=torch.Generator().manual_seed(0))


def test_an_imported_gpt2_gives_transformers_logits_and_attention(theirs, gpt2_folder):
    model = build(read_folder(gpt2_folder))
    with torch.no_grad():
        expected = theirs(IDS, output_attentions=True)
        logits, _ = model(IDS)
    torch.testing.assert_close(logits, expected.logits, atol=1e-4, rtol=0)
    patterns = torch.from_numpy(attention_patterns(model, IDS[0].tolist()))
    torch.testing.assert_close(patterns, torch.stack([layer[0] for layer in expected.attentions]), atol=1e-4, rtol=0)


PLAIN = {"n_layer": 2, "n_head": 3, "n_embd": 24, "block_size": 32}
ROPE, LLAMA = {"position": "rope"}, {"position": "rope", "norm": "rms", "activation": "swiglu"}


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("gpt2", {}),
        ("gpt2", {"bias": True}),
        ("gpt2", {"tie_weights": False}),
        ("gpt2", {"activation": "relu"}),
        ("gpt2", {"activation": "relu2"}),
        ("gpt2", {"activation": "gelu_tanh"}),
        ("gpt2", {"attention_scale": False}),
        ("gpt2", {"zero_init": True, "dropout": 0.1}),
        ("gpt2", {"position": "sinusoidal"}),
        ("gpt2", {"position": "none", "bias": True}),
        ("gpt_neox", ROPE),
        ("gpt_neox", ROPE | {"bias": True, "dropout": 0.1}),
        ("gpt_neox", ROPE | {"tie_weights": False, "activation": "gelu_tanh"}),
        ("gpt_neox", ROPE | {"attention_scale": False, "activation": "relu2", "bias": True}),
        ("gpt_neox", ROPE | {"activation": "relu", "n_head": 1, "n_embd": 16, "n_layer": 3}),
        ("llama", LLAMA),
        ("llama", LLAMA | {"bias": True, "tie_weights": False}),
        ("llama", LLAMA | {"attention_scale": False, "bias": True, "dropout": 0.1}),
        ("llama", LLAMA | {"n_head": 4, "n_embd": 40, "n_layer": 1}),
        ("llama", LLAMA | {"n_head": 4, "n_kv_head": 2, "bias": True, "attention_scale": False}),
        ("gpt2", {"n_kv_head": 3}),
    ],
    ids=str,
)
def test_an_exported_model_gives_the_same_logits_in_transformers(kind, changes, tmp_path):
    model = random_model(ModelConfig(**PLAIN | changes))
    assert write_folder(tmp_path / "out", model).kind == kind
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    assert theirs.config.model_type == kind
    with torch.no_grad():
        ours = model(IDS)[0]
        torch.testing.assert_close(theirs(IDS).logits, ours, atol=2e-5, rtol=0)
        again = build(read_folder(tmp_path / "out"))
        torch.testing.assert_close(again(IDS)[0], ours, atol=2e-5, rtol=0)


def test_each_preset_exports_to_its_expected_transformers_architecture():
    kinds = {}
    for name, preset in PRESETS.items():
        try:
            kinds[name] = layout_for(preset().model).kind
        except ExternalModelError:
            kinds[name] = None
    assert kinds == {
        "gpt-quick": "gpt_neox", "gpt-fast": None, "gpt-night": None, "bigram": None,
        "gpt-tiny": "gpt2", "gpt-lecture": "gpt2", "gpt2": "gpt2",
        "addition": None, "modular-addition": "gpt2", "induction": None,
    }  # fmt: skip


def random_model(config):
    torch.manual_seed(2)
    model = build_model(config, 300).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kind": "bigram"}, "Settings in the way: kind=bigram."),
        ({"causal": False}, "causal=False"),
        ({"softmax_over": "queries"}, "softmax_over=queries"),
        ({"residual": False}, "residual=False"),
        ({"feed_forward": False}, "feed_forward=False"),
        ({"norm": "none"}, "norm=none"),
        ({"n_kv_head": 1}, "for GPT-2 n_kv_head=1; for GPT-NeoX n_kv_head=1"),
        (
            {"norm": "rms"},
            "for GPT-2 norm=rms; for GPT-NeoX norm=rms and position=learned; "
            "for Llama position=learned and activation=gelu.",
        ),
        (  # gpt-fast
            {"position": "rope", "norm": "rms", "activation": "relu2", "qk_norm": True, "bigram_start": True},
            "Settings in the way: qk_norm=True and bigram_start=True; for GPT-2 norm=rms and position=rope; "
            "for GPT-NeoX norm=rms; for Llama activation=relu2.",
        ),
    ],
)
def test_a_model_that_no_architecture_fits_is_refused_before_anything_is_written(changes, sentence, tmp_path):
    model = build_model(ModelConfig(**{"n_layer": 1, "n_head": 2, "n_embd": 8, "block_size": 8} | changes), 9)
    with pytest.raises(ExternalModelError, match=re.escape(sentence)):
        write_folder(tmp_path / "out", model)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model_type": "mistral"}, "kind 'mistral'. Only GPT-2, GPT-NeoX and Llama can be opened"),
        ({"n_layer": 2}, "do not call for: 'transformer.h.2."),
        ({"n_layer": 4}, "transformer.h.3.ln_1.weight is missing"),
        ({"n_embd": 96}, r"wte.weight has the shape \(300, 48\), but should have \(300, 96\)"),
        ({"vocab_size": 10**12}, "vocab_size is '1000000000000'"),
        ({"n_head": 5}, "do not fit: .* 5 heads"),
        ({"n_head": "four"}, "n_head is 'four'"),
        ({"n_inner": 7}, "n_inner is '7', but only 192 is supported"),
        ({"activation_function": "tanh"}, "activation 'tanh' is not supported"),
        ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon is .1e-06., but only 1e-05 is supported"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is 'True', but only False"),
    ],
)
def test_unsupported_or_mismatched_settings_are_refused_with_the_reason(gpt2_folder, changes, sentence):
    path = gpt2_folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ExternalModelError, match=sentence):
        read_folder(gpt2_folder)


def test_missing_damaged_or_pickled_model_files_are_refused(gpt2_folder):
    weights = load_file(gpt2_folder / "model.safetensors")
    whole = (gpt2_folder / "model.safetensors").read_bytes()
    save_file(
        weights | {"transformer.ln_f.weight": torch.ones(48, dtype=torch.int64)}, gpt2_folder / "model.safetensors"
    )
    with pytest.raises(ExternalModelError, match="holds I64"):
        read_folder(gpt2_folder)
    (gpt2_folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ExternalModelError, match="damaged"):
        read_folder(gpt2_folder)
    (gpt2_folder / "model.safetensors").rename(gpt2_folder / "pytorch_model.bin")
    with pytest.raises(ExternalModelError, match="can hide programs"):
        read_folder(gpt2_folder)
    (gpt2_folder / "config.json").write_text("{")
    with pytest.raises(ExternalModelError, match="not JSON"):
        read_folder(gpt2_folder)
    (gpt2_folder / "config.json").unlink()
    with pytest.raises(ExternalModelError, match="not a model's folder"):
        read_folder(gpt2_folder)
