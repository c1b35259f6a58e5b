"""Measure tokenizers: speed of byte-pair encoding, bits per byte of each, a text of 2 GB, and how many seeds grok.

The checkout of minbpe is only read. tiktoken encodes with our merges.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from core.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from core.fast.threads import keep_freed_memory
from core.presets import preset
from core.runs.ancestry import new_run
from core.runs.commands import send_command
from core.runs.folder import RunFolder
from core.runs.records import Status
from core.runs.worker import train_run
from core.text.batches import split_ids
from core.text.bpe import new_tokenizer, train_merges
from core.text.large_text import save_large_text
from core.text.own_text import read_text, save_text
from core.text.tokenizers import BPETokenizer
from core.training.evaluation import bits_per_byte, whole_split_loss
from core.training.trainer import Trainer
from tests.benchmarks.estimates import worker_peak
from tests.benchmarks.report import report

ROUNDS, VOCAB_SIZE = 3, 512
MINBPE_CHARACTERS = 30_000  # of the text, for minbpe; it would take minutes for all of it
GPT2_WORDS = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
SECONDS = 60  # of training; the same for all
# Tokenizers with a context of about as many characters, up to 128 tokens.
KINDS = {
    "characters": ("char", 0, 128),
    "bytes": ("byte", 0, 128),
    "BPE 512": ("bpe", 512, 64),
    "BPE 2048": ("bpe", 2048, 48),
}
LARGE_BYTES = 2 * 2**30
SEEDS, GROKKED, GROK_SECONDS = 5, 0.99, 180


def measure_speed(text_path: Path, minbpe: Path) -> None:
    """Report tokens a second of training and encoding, in turns; of minbpe on the text's beginning."""
    import tiktoken

    text = read_text(text_path.read_bytes())
    short = text[:MINBPE_CHARACTERS]
    sys.path.insert(0, str(minbpe))
    theirs = import_module("minbpe").RegexTokenizer(GPT2_WORDS)
    ours = BPETokenizer.from_merges(train_merges(text)[: VOCAB_SIZE - 256])
    ranks = {data: rank for rank, data in enumerate(ours.token_bytes)}
    tiktokens = tiktoken.Encoding("ours", pat_str=GPT2_WORDS, mergeable_ranks=ranks, special_tokens={})
    theirs.train(short, VOCAB_SIZE)
    if tiktokens.encode_ordinary(text) != ours.encode_array(text).tolist():
        raise RuntimeError("tiktoken encodes differently with the same merges")
    tasks: dict[str, tuple[str, str, Callable[[], Any]]] = {
        "training to 512 tokens, ours (all merges)": (short, "bytes", lambda: train_merges(short)),
        "training to 512 tokens, minbpe": (short, "bytes", lambda: theirs.train(short, VOCAB_SIZE)),
        "encoding, ours": (text, "tokens", lambda: ours.encode_array(text)),
        "encoding, tiktoken with our merges": (text, "tokens", lambda: tiktokens.encode_ordinary(text)),
        "encoding, minbpe": (short, "tokens", lambda: theirs.encode(short)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(ROUNDS):
        for name, (_of, _unit, task) in tasks.items():
            start = perf_counter()
            task()
            seconds[name].append(perf_counter() - start)
    rows = []
    for name, (of, unit, _task) in tasks.items():
        size = len(of.encode()) if unit == "bytes" else len(ours.encode_array(of))
        taken = statistics.median(seconds[name])
        rows.append({"what": name, "text": f"{len(of):,} characters", "a second": f"{size / taken:,.0f} {unit}"})
    report("Speed of byte-pair encoding", rows)


def measure_bits(text_path: Path) -> None:
    """Report bits per byte on the whole validation split of one GPT after equal seconds of steps."""
    text = read_text(text_path.read_bytes())
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (kind, vocab_size, block_size) in KINDS.items():
            data = DataConfig(tokenizer=kind, **({"vocab_size": vocab_size} if vocab_size else {}))
            tokenizer = new_tokenizer(data, text, Path(folder))
            config = preset("gpt-fast").replace({"model.block_size": block_size, "model.bigram_start": False})
            train, val = split_ids(torch.from_numpy(tokenizer.encode_array(text)), 0.1)
            steps = _steps_in(SECONDS, config, train, val, tokenizer.vocab_size)
            trainer = Trainer(config.replace({"train.steps": steps}), train, val, tokenizer.vocab_size, "cpu")
            start = perf_counter()
            for _ in range(steps):
                trainer.train_step()
            taken = perf_counter() - start
            each = len(tokenizer.decode(val.tolist()).encode()) / len(val)
            bits = bits_per_byte(whole_split_loss(trainer.model, val, batch_size=64), each)
            rows.append(
                {
                    "tokens": name,
                    "context": block_size,
                    "bytes a token": f"{each:.2f}",
                    "steps": steps,
                    "seconds": f"{taken:.0f}",
                    "bits/byte": f"{bits:.3f}",
                }
            )
    report("Bits per byte of each tokenizer", rows)


def _steps_in(seconds: float, config: RunConfig, train: torch.Tensor, val: torch.Tensor, vocab_size: int) -> int:
    trainer = Trainer(config, train, val, vocab_size, "cpu")
    taken = [trainer.train_step().seconds for _ in range(30)]
    return round(seconds / statistics.median(taken))


def measure_large(text_path: Path) -> None:
    """Report a worker's own memory and the time of its first step for a text of 2 GB, and for a small one."""
    text = read_text(text_path.read_bytes())
    model = ModelConfig(n_layer=2, n_head=4, n_embd=64, block_size=64)
    train = TrainConfig(steps=50, log_interval=1, eval_windows=64, device="cpu", precision="float32", snapshots=2)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        for name in ("runs", "texts", "downloads"):
            (data_dir / name).mkdir()
        large = data_dir / "large.txt"
        with large.open("wb") as file:
            while file.tell() < LARGE_BYTES:
                file.write(text.encode())
        with large.open("rb") as file:
            names = {
                "1 MB": save_text(text, "Small", data_dir).name,
                "2 GB": save_large_text(file, "Large", data_dir).name,
            }
        large.unlink()
        for name, corpus in names.items():
            for what in ("tokenizing it", "tokenized before"):
                run = new_run(data_dir, RunConfig(model=model, train=train, data=DataConfig(corpus=corpus)))
                seconds: list[float] = []
                peak = worker_peak(data_dir, run, partial(_note_first_step, run, perf_counter(), seconds))
                rows.append(
                    {
                        "text": name,
                        "run": what,
                        "memory of the worker": f"{peak / 2**20:.0f} MB",
                        "to the first step": f"{seconds[0]:.1f} s",
                    }
                )
    report("A text of 2 GB", rows)


def _note_first_step(run: RunFolder, start: float, seconds: list[float]) -> None:
    if not seconds and any("loss" in row for row in run.rows("metrics")):
        seconds.append(perf_counter() - start)


def measure_grokking() -> None:
    """Report for each seed the step and seconds at which it answers problems that it never trained on."""
    keep_freed_memory()
    rows, found = [], []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1, SEEDS + 1):
            config = preset("modular-addition").replace(
                {"train.seed": seed, "train.snapshots": 0, "train.device": "cpu"}
            )
            run = new_run(Path(folder), config)
            train_run(run, Path(folder), threads=1, on_status=partial(_stop_if_grokked, run))
            rows.append(_grokked(seed, run))
            found.append(rows[-1]["grokked at step"])
    grokked = [step for step in found if step != "-"]
    share = f"{len(grokked)} of {SEEDS}"
    rows.append(
        {"seed": "median", "memorized at step": "", "grokked at step": statistics.median(grokked), "seconds": share}
    )
    report("Grokking within three minutes", rows)


def _stop_if_grokked(run: RunFolder, status: Status) -> None:
    if (status.val_accuracy or 0) >= GROKKED and status.state == "running":
        send_command(run, "stop")


def _grokked(seed: int, run: RunFolder) -> dict[str, Any]:
    measured = [row for row in run.rows("metrics") if row.get("val_accuracy") is not None]
    memorized = next((row["step"] for row in measured if row["train_accuracy"] >= GROKKED), "-")
    right = next((row for row in measured if row["val_accuracy"] >= GROKKED and row["seconds"] <= GROK_SECONDS), None)
    return {
        "seed": seed,
        "memorized at step": memorized,
        "grokked at step": right["step"] if right else "-",
        "seconds": f"{right['seconds']:.0f}" if right else "-",
    }
