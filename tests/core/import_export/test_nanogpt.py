import math
import zipfile

import pytest
import torch
from torch.nn import functional as F

from core.config import ModelConfig
from core.import_export.external_weights import ExternalModelError, build
from core.import_export.nanogpt import checkpoint_writer, read_checkpoint
from core.model import build_model
from core.text.tokenizers import CharTokenizer

SETTINGS = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 8, "bias": False, "vocab_size": 11, "dropout": 0.2}
IDS = torch.randint(11, (2, 8), generator=torch.Generator().manual_seed(0))


def their_weights(bias: bool = False) -> dict[str, torch.Tensor]:
    """Return weights in nanoGPT's layout: GPT-2's names, linear layers of shape (out, in), a tied embedding table."""
    rng = torch.Generator().manual_seed(3)
    shapes = {"transformer.wte.weight": (11, 16), "transformer.wpe.weight": (8, 16), "transformer.ln_f.weight": (16,)}
    for layer in range(2):
        inside = {
            "ln_1.weight": (16,), "attn.c_attn.weight": (48, 16), "attn.c_proj.weight": (16, 16),
            "ln_2.weight": (16,), "mlp.c_fc.weight": (64, 16), "mlp.c_proj.weight": (16, 64),
        }  # fmt: skip
        shapes |= {f"transformer.h.{layer}.{name}": shape for name, shape in inside.items()}
    weights = {name: 0.3 * torch.randn(shape, generator=rng) for name, shape in shapes.items()}
    return weights | {"lm_head.weight": weights["transformer.wte.weight"]}


def their_logits(w: dict[str, torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
    """Compute GPT-2's forward pass in plain lines, with the exact GELU."""
    B, T = ids.shape
    x = w["transformer.wte.weight"][ids] + w["transformer.wpe.weight"][:T]
    for layer in range(2):
        part = {name.removeprefix(f"transformer.h.{layer}."): t for name, t in w.items() if f".h.{layer}." in name}
        q, k, v = (F.layer_norm(x, (16,), part["ln_1.weight"]) @ part["attn.c_attn.weight"].T).split(16, -1)
        q, k, v = (t.view(B, T, 2, 8).transpose(1, 2) for t in (q, k, v))
        scores = (q @ k.mT / math.sqrt(8)).masked_fill(torch.ones(T, T).triu(1).bool(), -math.inf)
        x = x + (scores.softmax(-1) @ v).transpose(1, 2).reshape(B, T, 16) @ part["attn.c_proj.weight"].T
        hidden = F.layer_norm(x, (16,), part["ln_2.weight"]) @ part["mlp.c_fc.weight"].T
        x = x + 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2))) @ part["mlp.c_proj.weight"].T
    return F.layer_norm(x, (16,), w["transformer.ln_f.weight"]) @ w["transformer.wte.weight"].T


@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
def test_an_imported_nanogpt_checkpoint_gives_the_logits_of_a_plain_implementation(tmp_path, prefix):
    weights = their_weights()
    stored = {prefix + name: tensor for name, tensor in weights.items()}
    torch.save({"model": stored, "model_args": SETTINGS, "iter_num": 70, "optimizer": {}}, tmp_path / "ckpt.pt")
    external = read_checkpoint(tmp_path / "ckpt.pt")
    assert external.step == 70
    with torch.no_grad():
        logits, _ = build(external)(IDS)
    torch.testing.assert_close(logits, their_logits(weights, IDS), atol=1e-5, rtol=0)


def test_an_exported_checkpoint_has_nanogpts_layout_and_reads_back_the_same(tmp_path):
    model = build_model(ModelConfig(n_layer=2, n_head=2, n_embd=16, block_size=8, activation="gelu"), 11).eval()
    tokenizer = CharTokenizer.from_text("abcdefghijk")
    checkpoint_writer(model, tokenizer, "letters", step=12, val_loss=1.5)(tmp_path / "ckpt.pt")
    found = torch.load(tmp_path / "ckpt.pt", weights_only=True)
    assert found["model"].keys() == their_weights().keys()
    assert {name: t.shape for name, t in found["model"].items()} == {n: t.shape for n, t in their_weights().items()}
    assert (found["iter_num"], found["best_val_loss"]) == (12, 1.5)
    assert found["model_args"] == SETTINGS | {"dropout": 0.0}
    assert found["config"] == {"dataset": "letters"}
    assert read_checkpoint(tmp_path / "ckpt.pt").tokenizer == tokenizer
    with torch.no_grad():
        logits, _ = model(IDS)
        torch.testing.assert_close(their_logits(found["model"], IDS), logits, atol=1e-5, rtol=0)
        assert torch.equal(build(read_checkpoint(tmp_path / "ckpt.pt"))(IDS)[0], logits)


class Evil:
    """Writes a file when a reader without protection unpickles it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_code_in_a_pickled_checkpoint_is_never_executed(tmp_path):
    torch.save({"model": Evil(tmp_path / "proof"), "model_args": SETTINGS}, tmp_path / "ckpt.pt")
    with pytest.raises(ExternalModelError, match="could be a program"):
        read_checkpoint(tmp_path / "ckpt.pt")
    assert not (tmp_path / "proof").exists()


def save(path, *, settings=None, weights=None, **more):
    checkpoint = {"model": their_weights() | (weights or {}), "model_args": SETTINGS | (settings or {})} | more
    torch.save(checkpoint, path)
    return path


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ({"settings": {"n_embd": 10**9}}, "n_embd is '1000000000'"),
        ({"settings": {"vocab_size": "many"}}, "vocab_size is 'many'"),
        ({"settings": {"n_layer": 1}}, "do not call for: 'transformer.h.1."),
        ({"settings": {"n_layer": 40}}, "transformer.h.2.ln_1.weight is missing"),
        # A table whose declared size is far beyond the file's: all rows share one number.
        (
            {"weights": {"transformer.wte.weight": torch.zeros(1).expand(10**9, 16)}},
            r"has the shape \(1000000000, 16\)",
        ),
        ({"weights": {"transformer.wte.weight": torch.zeros(1).expand(11, 16)}}, "wte.weight is not a plain array"),
        (
            {"weights": {"transformer.ln_f.weight": torch.zeros(16, dtype=torch.int64)}},
            "ln_f.weight is not a plain array",
        ),
        ({"weights": {"transformer.ln_f.weight": "sixteen"}}, "is not a tensor"),
        ({"model": None}, "not a nanoGPT checkpoint"),
    ],
)
def test_a_checkpoint_with_invalid_settings_or_weights_is_refused_with_the_reason(tmp_path, what, sentence):
    with pytest.raises(ExternalModelError, match=sentence):
        read_checkpoint(save(tmp_path / "ckpt.pt", **what))


def test_a_compressed_truncated_or_missing_checkpoint_is_refused(tmp_path):
    path = save(tmp_path / "ckpt.pt")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as target:
        for item in source.infolist():
            target.writestr(item.filename, source.read(item))
    with pytest.raises(ExternalModelError, match="packed in a way"):
        read_checkpoint(tmp_path / "packed.pt")
    path.write_bytes(path.read_bytes()[:500])
    for name in ("ckpt.pt", "missing.pt"):
        with pytest.raises(ExternalModelError, match="missing, damaged"):
            read_checkpoint(tmp_path / name)
