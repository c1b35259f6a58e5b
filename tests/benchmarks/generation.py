"""Tokens a second against nanoGPT: the same shapes, random weights, float32, within the context and past it.

A checkout of nanoGPT is given by its path and only its model.py is imported, as it is.
"""

import contextlib
import importlib.util
import io
import statistics
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from core.config import ModelConfig
from core.model import build_model
from core.sampling import generate
from core.sampling_config import GenerationConfig
from tests.benchmarks.report import report

VOCAB = 65
SHAPES = (  # with the numbers of tokens: as many as fit the context, and many more; and what is aimed at
    (ModelConfig(n_layer=4, n_head=4, n_embd=128, block_size=64), ((60, 4), (1000, 3))),
    (ModelConfig(n_layer=6, n_head=6, n_embd=384, block_size=256), ((250, 10), (600, 3))),
)
ROUNDS = 3


def measure(checkout: Path, rounds: int = ROUNDS) -> None:
    theirs = import_model(checkout)
    rows = []
    for config, lengths in SHAPES:
        with contextlib.redirect_stdout(io.StringIO()):  # it tells its number of parameters
            shape = {name: getattr(config, name) for name in ("n_layer", "n_head", "n_embd", "block_size", "bias")}
            nano = theirs.GPT(theirs.GPTConfig(**shape, vocab_size=VOCAB, dropout=0.0)).eval()
        ours = build_model(config, VOCAB).eval()
        for length, aim in lengths:
            rows.append(_row(config, length, aim, _interleaved(nano, ours, length, rounds)))
    report("Tokens a second, writing", rows)


def import_model(checkout: Path) -> Any:
    spec = importlib.util.spec_from_file_location("nanogpt_model", checkout / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _interleaved(nano: Any, ours: Any, length: int, rounds: int) -> list[tuple[float, float]]:
    """Seconds of nanoGPT and of ours, one after the other in each round; a first round that warms up is left out."""
    start = torch.zeros(1, 1, dtype=torch.int64)
    settings = GenerationConfig(max_new_tokens=length)
    return [
        (
            _seconds(lambda: nano.generate(start, length, temperature=settings.temperature)),
            _seconds(lambda: list(generate(ours, [0], settings, alternatives=0, use_all_threads=True))),
        )
        for _ in range(rounds + 1)
    ][1:]


def _seconds(work: Callable[[], Any]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def _row(config: ModelConfig, length: int, aim: int, seconds: list[tuple[float, float]]) -> dict[str, Any]:
    ratios = [nano / ours for nano, ours in seconds]
    nano, ours = (length / statistics.median(side) for side in zip(*seconds, strict=True))
    return {
        "layers/heads/width": f"{config.n_layer}/{config.n_head}/{config.n_embd}",
        "context": config.block_size,
        "tokens": length,
        "nanoGPT": round(nano),
        "ours": round(ours),
        "ratio (median)": round(statistics.median(ratios), 1),
        "ratio (least)": round(min(ratios), 1),
        "aim": aim,
    }
