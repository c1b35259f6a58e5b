"""GPT-NeoX and Llama as transformers saves them, in one file or in shards."""

import json

import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

from core.import_export.external_weights import ExternalModelError, build
from core.import_export.huggingface import read_folder

IDS = torch.randint(61, (2, 24), generator=torch.Generator().manual_seed(0))
SHAPE = {
    "vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
    "max_position_embeddings": 24, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip


def neox(**changes):
    rotation = {"rope_theta": 10_000, "rope_type": "default", "partial_rotary_factor": 1.0}
    plain = {"intermediate_size": 96, "use_parallel_residual": False, "rope_parameters": rotation}
    return random(GPTNeoXForCausalLM(GPTNeoXConfig(**SHAPE | plain | changes)))


def llama(**changes):
    return random(LlamaForCausalLM(LlamaConfig(**SHAPE | {"intermediate_size": 64, "rms_norm_eps": 1e-5} | changes)))


def random(model):
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model.eval()


def check_logits(theirs, folder):
    with torch.no_grad():
        logits, _ = build(read_folder(folder))(IDS)
        torch.testing.assert_close(logits, theirs(IDS).logits, atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (neox, {}),
        (neox, {"tie_word_embeddings": True, "hidden_act": "gelu_new"}),
        (neox, {"attention_bias": False, "hidden_act": "relu"}),
        (llama, {}),
        (llama, {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
        (llama, {"attention_bias": True}),
        (llama, {"mlp_bias": True, "num_key_value_heads": 3}),
        (llama, {"num_key_value_heads": 1}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
@pytest.mark.parametrize("shard", ["50GB", "8KB"])
def test_imported_neox_and_llama_models_give_transformers_logits(make, changes, shard, tmp_path):
    theirs = make(**changes)
    theirs.save_pretrained(tmp_path, max_shard_size=shard)
    assert (tmp_path / "model.safetensors.index.json").exists() == (shard == "8KB")
    check_logits(theirs, tmp_path)


def test_settings_of_older_transformers_versions_are_read(tmp_path):
    theirs = neox()
    theirs.save_pretrained(tmp_path)
    change_settings(tmp_path, rope_parameters=None, rotary_pct=1.0, rotary_emb_base=10_000)
    check_logits(theirs, tmp_path)
    theirs = llama()
    theirs.save_pretrained(tmp_path)
    change_settings(tmp_path, rope_parameters=None, rope_theta=10_000.0, rope_scaling=None)
    check_logits(theirs, tmp_path)


def change_settings(folder, **changes):
    path = folder / "config.json"
    settings = {name: value for name, value in (json.loads(path.read_text()) | changes).items() if value is not None}
    path.write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("make", "changes", "sentence"),
    [
        (neox, {"use_parallel_residual": True}, "use_parallel_residual is 'True', but only False is supported"),
        (neox, {"rope_parameters": {"rope_theta": 10_000}, "rotary_pct": 0.25}, "partial_rotary_factor is '0.25'"),
        (neox, {"rope_parameters": {"rope_theta": 500}}, "rope_theta is '500', but only 10000"),
        (neox, {"rope_parameters": "long"}, "rope_parameters is 'long', but must be a dictionary"),
        (neox, {"layer_norm_eps": 1e-6}, "layer_norm_eps is '1e-06', but only 1e-05"),
        (neox, {"intermediate_size": 100}, "intermediate_size is '100', but only 96"),
        (neox, {"hidden_act": "silu"}, "activation 'silu' is not supported"),
        (neox, {"hidden_size": "wide"}, "hidden_size is 'wide'"),
        (llama, {"num_key_value_heads": 2}, "do not fit: n_kv_head 2 must divide n_head 3"),
        (llama, {"head_dim": 16}, "head_dim is '16', but only 8"),
        (llama, {"rms_norm_eps": 1e-6}, "rms_norm_eps is '1e-06'"),
        (llama, {"rms_norm_eps": None}, "rms_norm_eps is '1e-06'"),
        (llama, {"intermediate_size": 96}, "intermediate_size is '96', but only 64"),
        (llama, {"hidden_act": "gelu"}, "hidden_act is 'gelu', but only 'silu'"),
        (llama, {"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type is 'linear'"),
        (llama, {"rope_scaling": {"rope_type": "llama3"}}, "rope_type is 'llama3'"),
        (llama, {"max_position_embeddings": 10**6}, "max_position_embeddings is '1000000'"),
        (llama, {"num_attention_heads": 0}, "num_attention_heads is '0'"),
    ],
)
def test_an_unsupported_setting_is_refused_by_name(make, changes, sentence, tmp_path):
    make().save_pretrained(tmp_path)
    change_settings(tmp_path, **changes)
    with pytest.raises(ExternalModelError, match=sentence):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("index", "sentence"),
    [
        ({"weight_map": {"lm_head.weight": "../secret.safetensors"}}, "names '../secret.safetensors', which is not"),
        ({"weight_map": {"lm_head.weight": "/etc/x.safetensors"}}, "names '/etc/x.safetensors', which is not"),
        ({"weight_map": {"lm_head.weight": "sub/x.safetensors"}}, "which is not the name of a safetensors file"),
        ({"weight_map": {"lm_head.weight": "pytorch_model-1.bin"}}, "which is not the name of a safetensors file"),
        ({"weight_map": {"lm_head.weight": 5}}, "which is not the name of a safetensors file"),
        ({"weight_map": {"lm_head.weight": "model-9.safetensors"}}, "model-9.safetensors, .* is missing"),
        ({"weight_map": {"lm_head.weight": ["a"]}}, "is damaged"),
        ({"weight_map": {}}, "names no weights"),
        ({"weight_map": [1]}, "is damaged"),
        ([], "is damaged"),
    ],
)
def test_a_shard_index_that_leaves_its_folder_or_is_damaged_is_refused(index, sentence, tmp_path):
    llama().save_pretrained(tmp_path / "model", max_shard_size="8KB")
    (tmp_path / "model" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ExternalModelError, match=sentence):
        read_folder(tmp_path / "model")


def test_a_shard_that_is_truncated_or_lacks_an_indexed_tensor_is_refused(tmp_path):
    llama().save_pretrained(tmp_path, max_shard_size="8KB")
    shard = sorted(tmp_path.glob("model-*.safetensors"))[0]
    path = tmp_path / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    moved = dict.fromkeys(index["weight_map"], shard.name)
    path.write_text(json.dumps({"weight_map": moved}))
    with pytest.raises(ExternalModelError, match="is missing from the file"):
        read_folder(tmp_path)
    path.write_text(json.dumps(index))
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(ExternalModelError, match=f"{shard.name} is damaged"):
        read_folder(tmp_path)
