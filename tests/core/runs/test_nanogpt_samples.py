"""nanoGPT's sample.py on our exports.

`make test NANOGPT=PATH` names a checkout, as for the benchmark: then its unchanged sample.py runs. Without one,
a short script that finds the tokens in the same way replaces it.
"""

import io
import os
import pickle
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import zipfile
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch

from core.cli import main
from core.config import ModelConfig, RunConfig
from core.errors import ExplorerError
from core.import_export import nanogpt
from core.model import build_model
from core.runs.folder import RunFolder
from core.runs.model_files import export_nanogpt, import_model, pack
from core.runs.records import Status
from core.runs.weights import load_model
from core.text.tokenizers import BPETokenizer, CharTokenizer
from core.training.checkpoints import save_weights
from tests.core.import_export.conftest import bpe_folder  # noqa: F401 - a fixture

# Replaces sample.py if there is no checkout. It must find meta.pkl.
STAND_IN = """
import os, pickle, sys, torch
options = dict(option[2:].split("=") for option in sys.argv[1:])
checkpoint = torch.load(os.path.join(options["out_dir"], "ckpt.pt"), map_location="cpu")
meta_path = os.path.join("data", checkpoint["config"]["dataset"], "meta.pkl")
with open(meta_path, "rb") as file:
    meta = pickle.load(file)
sys.path.insert(0, os.environ["GPT_EXPLORER"])
from core.config import ModelConfig
from core.model import build_model
settings = dict(checkpoint["model_args"])
model = build_model(ModelConfig(**{n: v for n, v in settings.items() if n != "vocab_size"}), settings["vocab_size"])
assert checkpoint["model"].pop("lm_head.weight") is not None
model.load_state_dict(checkpoint["model"], strict=False)
try:
    start = eval(options.get("start", r"'\\n'"))
except NameError:
    start = options["start"]
ids = torch.tensor([[meta["stoi"][c] for c in start]])
for _ in range(int(options["max_new_tokens"])):
    logits = model.eval()(ids[:, -model.block_size:])[0][:, -1]
    ids = torch.cat((ids, logits.argmax(-1, keepdim=True)), dim=1)
print("".join(meta["itos"][i] for i in ids[0].tolist()))
print("---------------")
"""
GREEDY = "--num_samples=1 --max_new_tokens=30 --top_k=1"


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A copy of nanoGPT's folder that a test may write to."""
    folder = tmp_path / "nanoGPT"
    if given := os.environ.get("NANOGPT"):
        shutil.copytree(given, folder, ignore=shutil.ignore_patterns(".git", "assets"))
        (folder / "tiktoken.py").write_text("")  # sample.py imports it even if unused
    else:
        (folder / "data").mkdir(parents=True)
        (folder / "sample.py").write_text(STAND_IN)
    return folder


def sample(checkout: Path, command: str, process: bool = "NANOGPT" in os.environ) -> str:
    """Run a printed command in nanoGPT's folder with greedy decoding; return the text.

    The replacement of sample.py runs in this process, which has imported torch, unless `process` is true.
    """
    arguments = [*shlex.split(command)[1:], *GREEDY.split()]
    environment = {"GPT_EXPLORER": str(Path(__file__).parents[3])}
    if process:
        sampled = subprocess.run(
            [sys.executable, *arguments], cwd=checkout, env=os.environ | environment, capture_output=True, text=True
        )
        assert sampled.returncode == 0, sampled.stderr
        printed = sampled.stdout
    else:
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as output:
            patch.chdir(checkout)
            patch.setenv(*environment.popitem())
            patch.setattr(sys, "argv", arguments)
            patch.setattr(sys, "path", [*sys.path])
            runpy.run_path(arguments[0], run_name="__main__")
        printed = output.getvalue()
    return printed.rpartition("meta.pkl...\n")[2].rpartition("\n---------------")[0]


def make_run(data_dir: Path, tokenizer, name: str, **settings) -> RunFolder:
    """Return a finished run with random weights large enough that the most likely token is unambiguous."""
    torch.manual_seed(len(name))
    config = RunConfig(model=ModelConfig(**{"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 32} | settings))
    model = build_model(config.model, tokenizer.vocab_size)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)

    def fill(run: RunFolder) -> None:
        tokenizer.save(run.tokenizer_path)
        save_weights(run.weights_path, model, 7)
        run.write_status(Status(state="finished", step=7, steps=7))

    return RunFolder.create(data_dir, config, name, fill=fill)


def greedy(run: RunFolder, start: str) -> str:
    model, tokenizer, _ = load_model(run)
    ids = torch.tensor([tokenizer.encode(start)])
    with torch.no_grad():
        for _ in range(30):
            ids = torch.cat((ids, model(ids[:, -model.block_size :])[0][:, -1].argmax(-1, keepdim=True)), dim=1)
    return tokenizer.decode(ids[0].tolist())


def test_nanogpts_sample_py_writes_our_greedy_text_from_an_export(explorer_home, checkout, tmp_path, capsys):
    run = make_run(explorer_home, CharTokenizer.from_text("\nabc de"), "my diary/2", position="sinusoidal", bias=True)
    assert main(["export", run.id, "nanogpt", str(tmp_path / "out")]) == 0
    _, where, _, command = capsys.readouterr().out.splitlines()
    meta = re.search(r"looks for (data/my-diary-2-\w{6}/meta.pkl) in nanoGPT's own folder", where)[1]
    assert (tmp_path / "out" / meta).exists() and where.endswith(f"copy {tmp_path / 'out' / 'data'} there.")
    shutil.copytree(tmp_path / "out" / "data", checkout / "data", dirs_exist_ok=True)
    assert sample(checkout, command, process=True) == greedy(run, "\n")


def test_the_downloaded_zip_works_when_unpacked_into_nanogpts_folder(explorer_home, checkout, tmp_path):
    runs = [
        make_run(explorer_home, CharTokenizer.from_text("abcde="), "same name"),  # no newline to start with
        make_run(explorer_home, CharTokenizer.from_text("vwxyz="), "same name", attention_scale=False),
    ]
    for run in runs:  # both, before either writes
        with (tmp_path / "export.zip").open("wb") as file:
            pack(run, "nanogpt", file)
        zipfile.ZipFile(tmp_path / "export.zip").extractall(checkout)
    for run, start in zip(runs, "av", strict=True):
        how = (checkout / f"out-same-name-{run.id[-6:]}" / "README.txt").read_text().splitlines()
        assert "must be in that folder" in how[-2]
        assert sample(checkout, how[-1]) == greedy(run, start)


@pytest.mark.parametrize("text", ["=", '"$`'])
def test_the_printed_sample_command_quotes_its_prompt_correctly(explorer_home, checkout, tmp_path, text):
    run = make_run(explorer_home, CharTokenizer.from_text(text + "0"), "signs", n_layer=1)
    how = export_nanogpt(run, checkout / "ckpt.pt")
    assert sample(checkout, how.splitlines()[-1]) == greedy(run, sorted(text + "0")[0])


def test_two_exports_into_one_folder_both_stay_valid(explorer_home, tmp_path):
    runs = {
        "a.pt": make_run(explorer_home, CharTokenizer.from_text("abde"), "first"),
        "b.pt": make_run(explorer_home, CharTokenizer.from_text("STVW"), "second"),
    }
    for name, run in runs.items():
        how = export_nanogpt(run, tmp_path / name)
        assert f"It reads a file called ckpt.pt, so rename {name}." in how
    for name, run in runs.items():
        checkpoint = torch.load(tmp_path / name, weights_only=True)
        meta = pickle.loads((tmp_path / "data" / checkpoint["config"]["dataset"] / "meta.pkl").read_bytes())  # noqa: S301
        tokens = load_model(run).tokenizer.tokens
        assert meta == {"vocab_size": 4, "itos": dict(enumerate(tokens)), "stoi": {c: i for i, c in enumerate(tokens)}}
        back = load_model(import_model(explorer_home, tmp_path / name, "shakespeare"))
        assert back.tokenizer.tokens == tokens and back.step == 7


def test_the_export_of_a_bpe_model_explains_how_prompts_are_read(explorer_home, tmp_path, bpe_folder, monkeypatch):  # noqa: F811
    tokenizer = BPETokenizer.from_folder(bpe_folder)
    how = export_nanogpt(make_run(explorer_home, tokenizer, "pieces"), tmp_path)
    assert how.startswith("sample.py knows only GPT-2's tokens, so it reads prompts character by character, and writes")
    meta = pickle.loads(next(tmp_path.glob("data/pieces-*/meta.pkl")).read_bytes())  # noqa: S301
    assert "".join(meta["itos"][i] for i in tokenizer.encode("To be, or not")) == "To be, or not"
    assert [meta["itos"][meta["stoi"][c]] for c in "To be"] == list("To be")
    assert "<0xC3>" in meta["itos"].values() and "<0xC3>" in how
    monkeypatch.setattr(BPETokenizer, "is_gpt2", True)  # GPT-2's 50,257 tokens are not exported
    assert nanogpt.meta(tokenizer) is None and nanogpt.first_prompt(tokenizer) == "\n"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"activation": "gelu_tanh"}, "cannot have activation=gelu_tanh; it has only activation=gelu,"),
        ({"tie_weights": False}, "cannot have tie_weights=False"),
        ({"position": "rope", "norm": "rms"}, "cannot have norm=rms, position=rope"),
        ({"kind": "bigram"}, r"no such model \(kind=bigram\)"),
        ({"qk_norm": True, "bigram_start": True}, "cannot have qk_norm=True, bigram_start=True"),
    ],
)
def test_settings_that_nanogpt_lacks_are_refused_by_name(explorer_home, tmp_path, settings, sentence):
    run = make_run(explorer_home, CharTokenizer.from_text("\nabc"), "other", **settings)
    with pytest.raises(ExplorerError, match=sentence):
        export_nanogpt(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
