"""Compare the memory estimated before a run with its worker's peak: ten shapes, two of them with a text of 20 MB.

Each shape trains several times, because the position of freed blocks decides whether the logits need one more copy.
Also measure the memory of each program before it computes anything, beyond that of torch alone.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from core.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from core.presets import preset
from core.runs.folder import RunFolder
from core.runs.queue import Queue
from core.text.bpe import new_tokenizer
from core.text.corpora import load_corpus
from core.text.own_text import MAX_BYTES, save_text
from core.text.tokenizers import CharTokenizer
from core.training.cost import WORKER_BYTES, memory_needed
from tests.benchmarks.classroom import PageSession
from tests.benchmarks.estimates import worker_peak
from tests.benchmarks.report import report
from tests.e2e.server import ROOT, Server

NEAR = 0.15
_TIMES = 3
# Text, tokenizer, tokens known, batch, context, dropout.
SHAPES = (
    ("short", "char", 65, 1, 64, 0.0),
    ("short", "char", 65, 12, 1024, 0.0),
    ("short", "char", 2000, 1, 64, 0.0),
    ("short", "char", 2000, 12, 256, 0.0),
    ("short", "char", 50_257, 1, 64, 0.0),
    ("short", "char", 50_257, 12, 64, 0.0),
    ("short", "char", 65, 64, 256, 0.2),
    ("whole", "bpe", 4096, 12, 128, 0.0),
    ("long", "char", 65, 12, 64, 0.0),
    ("long", "bpe", 4096, 12, 64, 0.0),
)


def measure() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        for name in ("runs", "texts", "downloads"):
            (data_dir / name).mkdir()
        text = load_corpus("shakespeare", data_dir)
        texts = {"short": text[:200_000], "whole": text, "long": (text * 5)[: MAX_BYTES - 1]}
        names = {title: save_text(text, title, data_dir).name for title, text in texts.items()}
        report("Memory, estimated and measured", [_row(data_dir, names[title], *shape) for title, *shape in SHAPES])


def _row(
    data_dir: Path, corpus: str, kind: str, vocab_size: int, batch_size: int, block_size: int, dropout: float
) -> dict:
    config = RunConfig(
        model=ModelConfig(n_layer=4, n_head=4, n_embd=64, block_size=block_size, dropout=dropout),
        data=DataConfig(corpus=corpus, tokenizer=kind, vocab_size=vocab_size if kind == "bpe" else 512),
        train=TrainConfig(
            steps=20, batch_size=batch_size, eval_interval=10, eval_windows=64, sample_interval=10, sample_length=40,
            checkpoint_interval=10, snapshots=2, device="cpu", precision="float32",
        ),
    )  # fmt: skip
    text = load_corpus(corpus, data_dir)
    if kind == "bpe":
        tokenizer = new_tokenizer(config.data, text, data_dir)
    else:
        known = set(text)
        spare = map(chr, range(0x20000, 0x20000 + max(0, vocab_size - len(known))))  # never met in the text
        tokenizer = CharTokenizer(sorted({*known, *spare}))

    def fill(folder: RunFolder) -> None:
        tokenizer.save(folder.tokenizer_path)

    peaks = [worker_peak(data_dir, RunFolder.create(data_dir, config, fill=fill)) for _ in range(_TIMES)]
    estimated = memory_needed(config, tokenizer.vocab_size, "float32", len(text)) + WORKER_BYTES
    off = estimated / statistics.median(peaks) - 1
    return {
        "text": f"{len(text) / 1e6:.1f} MB",
        "tokenizer": kind,
        "tokens": tokenizer.vocab_size,
        "batch": batch_size,
        "context": block_size,
        "dropout": dropout,
        "MB estimated": round(estimated / 2**20),
        "MB measured": ", ".join(f"{peak / 2**20:.0f}" for peak in sorted(peaks)),
        "off": f"{100 * off:+.0f}%" + (" (!)" if abs(off) > NEAR else ""),
    }


_ROUNDS = 5
_IMPORTS = {
    "torch alone, imported": "import torch",
    "the web server's imports": "import gc; gc.disable(); import explorer.web.server",
    "imports of the process that forks workers, with the default text": (
        "from core.cli.worker import _import_all; _import_all()"
    ),
}
_SAY = """
import json, psutil
me = psutil.Process()
print(json.dumps([sum(me.cpu_times()[:2]), me.memory_info().rss]))
"""
_PAGES = ("data", "look_inside", "generate", "runs", "learn", "play")
_STEP = 100  # of gpt-tiny, at which its worker is looked at


def measure_footprint() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "home"
        data_dir.mkdir()
        rows = [_imports(what, code, data_dir) for what, code in _IMPORTS.items()]
        for start in ("first", "second"):
            server = Server(data_dir)
            try:
                web = psutil.Process(server.process.pid)
                rows.append(_footprint(f"the web server once it answers, {start} start", _cpu(web), web))
                if start == "second":
                    rows += asyncio.run(_pages(server, web))
                    rows += _worker(server, web)
            finally:
                server.close()
        report("Imports, first pages and memory", rows)


def _imports(what: str, code: str, data_dir: Path) -> dict[str, str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GPT_EXPLORER_HOME": str(data_dir)}
    command = [sys.executable, "-c", f"{code}\n{_SAY}"]
    said = [subprocess.check_output(command, env=environment, stderr=subprocess.DEVNULL) for _ in range(_ROUNDS)]
    seconds, memory = (statistics.median(values) for values in zip(*map(json.loads, said), strict=True))
    return {"what": what, "processor time": f"{seconds:.2f} s", "memory": _megabytes(memory), "of its own": ""}


async def _pages(server: Server, web: psutil.Process) -> list[dict[str, str]]:
    rows = []
    for what, names in (
        ("first page of that server, Home", ("",)),
        ("Home again, the median of five", ("",) * _ROUNDS),
        ("Train for the first time", ("train",)),
        ("Train again, the median of five", ("train",) * _ROUNDS),
        ("six other pages, each for the first time", _PAGES),
    ):
        spent = []
        for name in names:
            session = PageSession(server, "", 1)
            await session.connect()
            before = _cpu(web)
            await session.open(name, "")
            spent.append(_cpu(web) - before)
            await session.leave()
        rows.append(_footprint(what, sum(spent) if names == _PAGES else statistics.median(spent), web))
    return rows


def _worker(server: Server, web: psutil.Process) -> list[dict[str, str]]:
    """Train gpt-tiny to step 100 in a worker that is forked by a process that has imported torch."""
    living = [child for child in web.children() if child.status() != psutil.STATUS_ZOMBIE]
    (forks,) = [child for child in living if "--forks" in child.cmdline()]
    rows = [_footprint("the process that forks workers", _cpu(forks), forks)]
    folder = RunFolder.create(server.data_dir, preset("gpt-tiny").replace({"train.steps": 100_000}))
    begun = time.time()
    Queue(server.data_dir).put(folder.id)
    while not (steps := [row for row in folder.rows("metrics") if row["step"]]) or steps[-1]["step"] < _STEP:
        assert folder.status().state != "failed", folder.status().reason
        time.sleep(0.05)
    started = next(row["time"] for row in folder.rows("events") if row["kind"] == "start")
    worker = psutil.Process(folder.status().pid)
    what = f"a worker of gpt-tiny at step {_STEP}; {started - begun:.1f} s from the queue to its first step"
    return [*rows, _footprint(what, _cpu(worker), worker)]


def _cpu(process: psutil.Process) -> float:
    return sum(process.cpu_times()[:2])


def _footprint(what: str, seconds: float, process: psutil.Process) -> dict[str, str]:
    memory = process.memory_full_info()
    return {
        "what": what,
        "processor time": f"{seconds:.2f} s",
        "memory": _megabytes(memory.rss),
        "of its own": _megabytes(memory.uss),
    }


def _megabytes(size: float) -> str:
    return f"{size / 2**20:.0f} MB"
