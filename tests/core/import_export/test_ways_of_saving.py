"""Models as people save them: a model that transformers opens gives transformers' logits here, or an error."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file, save_model
from tokenizers import AddedToken, Tokenizer
from tokenizers.implementations import ByteLevelBPETokenizer
from transformers import GPT2Config, GPT2LMHeadModel

from core.config import ModelConfig
from core.errors import ExplorerError
from core.import_export.external_weights import ExternalModelError, build
from core.import_export.huggingface import read_folder, write_folder
from core.import_export.nanogpt import read_checkpoint
from core.model import build_model
from core.runs.model_files import import_model
from core.runs.weights import load_model
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.text.own_text import save_text
from core.text.tokenizers import load_tokenizer
from tests.core.import_export.conftest import TEXT
from tests.core.import_export.test_nanogpt import IDS as NANO_IDS
from tests.core.import_export.test_nanogpt import save, their_logits, their_weights

IDS = torch.arange(10)[None] * 7
WEIGHTS, CONFIG, WTE = "model.safetensors", "config.json", "transformer.wte.weight"


def make(**changes) -> GPT2LMHeadModel:
    torch.manual_seed(3)
    settings = {"vocab_size": 300, "n_positions": 32, "n_embd": 48, "n_layer": 2, "n_head": 4} | changes
    model = GPT2LMHeadModel(GPT2Config(**settings, bos_token_id=None, eos_token_id=None)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.15)
    return model


def logits_of(model) -> torch.Tensor:
    with torch.no_grad():
        found = model(IDS)
    return found[0] if isinstance(found, tuple) else found.logits


def rename(folder, change) -> None:
    weights = load_file(folder / WEIGHTS)
    save_file({change(name): tensor for name, tensor in weights.items()}, folder / WEIGHTS, {"format": "pt"})


def edit_config(folder, change) -> None:
    settings = json.loads((folder / CONFIG).read_text())
    change(settings)
    (folder / CONFIG).write_text(json.dumps(settings))


@pytest.mark.parametrize(
    "changes",
    [
        *({"activation_function": name} for name in ("gelu_pytorch_tanh", "gelu_fast", "gelu_accurate", "gelu_python")),
        {"n_embd": 2, "n_head": 2},  # as in the most downloaded test model of transformers
        {"n_embd": 100},
    ],
    ids=str,
)
def test_every_activation_name_and_width_gives_transformers_logits(changes, tmp_path):
    model = make(**changes)
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(logits_of(build(read_folder(tmp_path))), logits_of(model), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder, model: save_model(model, str(folder / WEIGHTS)),  # keeps lm_head.weight, one of two tied names
        lambda folder, model: rename(folder, lambda name: f"module.{name}"),
        lambda folder, model: rename(folder, lambda name: f"_orig_mod.module.{name}"),
        lambda folder, model: edit_config(folder, lambda it: it.update(n_ctx=it.pop("n_positions"))),
        lambda folder, model: edit_config(folder, lambda it: it.update(hidden_size=it.pop("n_embd"))),
        lambda folder, model: edit_config(folder, lambda it: it.pop("model_type")),
        lambda folder, model: edit_config(folder, lambda it: (it.pop("model_type"), it.pop("architectures"))),
        lambda folder, model: model.double().save_pretrained(folder),
    ],
    ids=["shared", "module", "compiled", "n_ctx", "hidden_size", "no model_type", "settings alone", "float64"],
)
def test_every_way_of_saving_gives_transformers_logits(change, tmp_path):
    model = make()
    model.save_pretrained(tmp_path)
    change(tmp_path, model)
    expected = logits_of(model).float()
    torch.testing.assert_close(logits_of(build(read_folder(tmp_path))), expected, atol=1e-5, rtol=0)


def test_differing_tables_under_the_two_tied_names_are_both_used_as_in_transformers(tmp_path):
    make().save_pretrained(tmp_path)
    weights = load_file(tmp_path / WEIGHTS)
    save_file(weights | {"lm_head.weight": weights[WTE].flip(0)}, tmp_path / WEIGHTS, {"format": "pt"})
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(logits_of(build(read_folder(tmp_path))), logits_of(theirs), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["silu", "quick_gelu"])
def test_an_unsupported_activation_is_refused_by_name(name, tmp_path):
    make(activation_function=name).save_pretrained(tmp_path)
    with pytest.raises(ExternalModelError, match=f"activation '{name}' is not supported"):
        read_folder(tmp_path)


@pytest.fixture(scope="module")
def tokenizer_files(tmp_path_factory):
    """A vocabulary of exactly 300 tokens, as vocab.json and merges.txt and as tokenizer.json."""
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        ["Emoji 😀👍🏽 and Größe, 今日は天気がいい。", TEXT] * 20, vocab_size=300, min_frequency=1, show_progress=False
    )
    folder = tmp_path_factory.mktemp("tokenizer")
    trained.save_model(str(folder))
    trained.save(str(folder / "tokenizer.json"))
    return folder


def with_pad(tokenizer_files, folder, files=("tokenizer.json",)):
    for name in files:
        shutil.copy(tokenizer_files / name, folder)
    if files == ("tokenizer.json",):
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.add_special_tokens([AddedToken("<|pad|>", special=True)])
        tokenizer.save(str(folder / "tokenizer.json"))
    else:
        (folder / "added_tokens.json").write_text('{"<|pad|>": 300}')


@pytest.mark.parametrize(
    ("rows", "files", "used"),
    [
        (301, ("tokenizer.json",), 301),
        (301, ("vocab.json", "merges.txt"), 301),  # with added_tokens.json
        (320, ("tokenizer.json",), 301),  # rounded up to a multiple of 64: 19 rows without a token
        (300, ("tokenizer.json",), 300),  # the model was never resized for the padding token
    ],
    ids=["exact", "slow", "padded", "tokenizer larger"],
)
def test_added_tokens_and_padding_rows_open_and_tokens_without_text_are_never_sampled(
    rows, files, used, tokenizer_files, tmp_path
):
    theirs = make(vocab_size=rows)
    with torch.no_grad():  # without truncation, the padding rows would be sampled almost always
        theirs.transformer.wte.weight[301:] = 10 * theirs.transformer.ln_f.bias
    theirs.save_pretrained(tmp_path / "model")
    with_pad(tokenizer_files, tmp_path / "model", files)
    run = import_model(tmp_path, tmp_path / "model", save_text(TEXT * 20, "To be", tmp_path).name)
    model, tokenizer, _ = load_model(run)
    torch.testing.assert_close(logits_of(model), logits_of(theirs)[..., :used], atol=1e-5, rtol=0)
    assert (model.vocab_size, tokenizer.vocab_size, len(tokenizer.tokens)) == (used, used, used)
    assert all(tokenizer.tokens) and ("<|pad|>" in tokenizer.tokens) == (used == 301)
    assert max(tokenizer.encode("<|pad|> to be")) < used
    assert tokenizer.decode(tokenizer.encode("<|pad|> Größe 😀")) == "<|pad|> Größe 😀"
    settings = GenerationConfig(max_new_tokens=20, temperature=2.0)
    written = [token.id for token in generate(model, tokenizer.encode("To be"), settings)]
    assert len(written) == 20 and isinstance(tokenizer.decode(written), str)


def test_a_tokenizer_of_another_model_is_refused(tokenizer_files, tmp_path):
    make(vocab_size=250).save_pretrained(tmp_path / "model")
    shutil.copy(tokenizer_files / "tokenizer.json", tmp_path / "model")
    with pytest.raises(ExplorerError, match="knows 250 tokens, but the tokenizer has 300"):
        import_model(tmp_path, tmp_path / "model", save_text(TEXT * 20, "To be", tmp_path).name)


@pytest.mark.parametrize("added", [{"<|pad|>": 305}, {"<|pad|>": 10**12}, {"<|pad|>": "300"}, {"<|pad|>": None}, [1]])
def test_added_tokens_that_do_not_follow_the_vocabulary_are_refused(added, tokenizer_files, tmp_path):
    make(vocab_size=301).save_pretrained(tmp_path / "model")
    with_pad(tokenizer_files, tmp_path / "model", ("vocab.json", "merges.txt"))
    (tmp_path / "model" / "added_tokens.json").write_text(json.dumps(added))
    with pytest.raises(ExplorerError, match="tokenizer|added token"):
        import_model(tmp_path, tmp_path / "model", save_text(TEXT * 20, "To be", tmp_path).name)


DEEP = "[" * 100_000


@pytest.mark.parametrize("name", [CONFIG, "tokenizer.json", "vocab.json", "added_tokens.json"])
def test_a_deeply_nested_model_file_is_refused_as_damaged(name, tokenizer_files, tmp_path):
    make(vocab_size=301).save_pretrained(tmp_path / "model")
    with_pad(tokenizer_files, tmp_path / "model", ("vocab.json", "merges.txt"))
    (tmp_path / "model" / name).write_text(DEEP)
    with pytest.raises(ExplorerError, match="damaged"):
        import_model(tmp_path, tmp_path / "model", save_text(TEXT * 20, "To be", tmp_path).name)


def test_a_deeply_nested_own_tokenizer_file_is_refused_as_damaged(tmp_path):
    (tmp_path / "tokenizer.json").write_text(DEEP)
    with pytest.raises(ExplorerError, match="damaged"):
        load_tokenizer(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_weights_are_refused_by_tensor_name(value, tmp_path):
    model = make()
    with torch.no_grad():
        model.transformer.h[1].mlp.c_fc.weight[3, 5] = value
    model.save_pretrained(tmp_path)
    with pytest.raises(
        ExternalModelError, match=r"transformer.h.1.mlp.c_fc.weight contains numbers that are not finite"
    ):
        read_folder(tmp_path)
    weights = their_weights()
    weights["transformer.wpe.weight"][0, 0] = value
    path = save(tmp_path / "ckpt.pt", weights=weights)
    with pytest.raises(ExternalModelError, match=r"transformer.wpe.weight contains numbers that are not finite"):
        read_checkpoint(path)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module.", "module._orig_mod."])
@pytest.mark.parametrize("kept", ["transformer.wte.weight", "lm_head.weight"])
def test_a_checkpoint_of_a_wrapped_model_opens_with_either_tied_tensor_name(prefix, kept, tmp_path):
    weights = their_weights()
    gone = ({"transformer.wte.weight", "lm_head.weight"} - {kept}).pop()
    stored = {prefix + name: tensor for name, tensor in weights.items() if name != gone}
    path = save(tmp_path / "ckpt.pt", model=stored)
    with torch.no_grad():
        logits, _ = build(read_checkpoint(path))(NANO_IDS)
    torch.testing.assert_close(logits, their_logits(weights, NANO_IDS), atol=1e-5, rtol=0)


def test_numpy_scalars_in_a_checkpoint_are_read_and_numpy_arrays_are_refused(tmp_path):
    path = save(tmp_path / "ckpt.pt", best_val_loss=np.float64(1.5), iter_num=np.int64(7), more=np.float32(2.0))
    assert read_checkpoint(path).step == 7
    path = save(tmp_path / "ckpt.pt", best_val_loss=np.array([1.5]))
    with pytest.raises(ExternalModelError, match="could be a program"):
        read_checkpoint(path)


@pytest.mark.parametrize("step", [10**30, -1, "seven", 1.5, True])
def test_an_invalid_step_in_a_checkpoint_is_refused(step, tmp_path):
    with pytest.raises(ExternalModelError, match="iter_num is .* must be a number from 0 to"):
        read_checkpoint(save(tmp_path / "ckpt.pt", iter_num=step))


def flip_in_the_middle(path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_flipped_bit_in_an_exported_model_is_detected(tmp_path):
    model = build_model(ModelConfig(n_layer=1, n_head=2, n_embd=16, block_size=8), 11)
    write_folder(tmp_path, model)
    assert GPT2LMHeadModel.from_pretrained(tmp_path).config.n_embd == 16
    flip_in_the_middle(tmp_path / WEIGHTS)
    with pytest.raises(ExternalModelError, match=r"model.safetensors is damaged: its checksum"):
        read_folder(tmp_path)
    path = save(tmp_path / "ckpt.pt")
    flip_in_the_middle(path)
    with pytest.raises(ExternalModelError, match=r"The file is damaged: its part 'ckpt/data/\d+'"):
        read_checkpoint(path)
