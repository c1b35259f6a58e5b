"""Compare tokens per second with nanoGPT and llama2.c: same shapes, random weights, within the context and beyond it.

Checkouts are only read: nanoGPT's model.py is imported unchanged, and llama2.c's run.c is compiled unchanged.
"""

import contextlib
import ctypes
import importlib.util
import io
import statistics
import struct
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch

from core.config import ModelConfig
from core.fast.compiled import load
from core.model import GPT, build_model
from core.sampling import generate, generate_together
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
    """Return the seconds of nanoGPT and of ours, alternating, without a first round that warms up."""
    start = torch.zeros(1, 1, dtype=torch.int64)
    settings = GenerationConfig(max_new_tokens=length)
    return [
        (
            _seconds(lambda: nano.generate(start, length, temperature=settings.temperature)),
            _seconds(lambda: list(generate(ours, [0], settings, alternatives=0, use_all_threads=True))),
        )
        for _ in range(rounds + 1)
    ][1:]


def _shape(config: ModelConfig) -> str:
    return f"{config.n_layer}/{config.n_head}/{config.n_embd}"


def _seconds(work: Callable[[], Any]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def _row(config: ModelConfig, length: int, aim: int, seconds: list[tuple[float, float]]) -> dict[str, Any]:
    ratios = [nano / ours for nano, ours in seconds]
    nano, ours = (length / statistics.median(side) for side in zip(*seconds, strict=True))
    return {
        "layers/heads/width": _shape(config),
        "context": config.block_size,
        "tokens": length,
        "nanoGPT": round(nano),
        "ours": round(ours),
        "ratio (median)": round(statistics.median(ratios), 1),
        "ratio (least)": round(min(ratios), 1),
        "aim": aim,
    }


LLAMA = {"block_size": 256, "position": "rope", "norm": "rms", "activation": "swiglu", "init_std": 0.08}
LLAMA_SHAPES = (  # with what is aimed at, of llama2.c's tokens a second: in float32, and in int8
    (ModelConfig(n_layer=4, n_head=4, n_embd=128, **LLAMA), (("float32", 0.8), ("int8", 1.6))),
    (ModelConfig(n_layer=6, n_head=6, n_embd=384, **LLAMA), (("float32", 1.0), ("int8", 1.6))),
)
LLAMA_ROUNDS, LLAMA_TOKENS = 9, 250


def measure_llama(checkout: Path, rounds: int = LLAMA_ROUNDS) -> None:
    """Report tokens a CPU second of one thread, the same weights on both sides."""
    torch.set_num_threads(1)
    load()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "llama2.so"
        flags = ["-Ofast", "-march=native", "-shared", "-fPIC", "-w", "-DTESTING", "-lm"]
        subprocess.run(["gcc", str(checkout / "run.c"), "-o", str(library), *flags], check=True)
        for config, aims in LLAMA_SHAPES:
            torch.manual_seed(0)
            model = build_model(config, VOCAB).eval()
            write_llama(model, Path(folder) / "model.bin")
            theirs = Llama(library, Path(folder) / "model.bin")
            difference = np.abs(theirs.logits([3, 5, 7]) - model(torch.tensor([[3, 5, 7]]))[0][0, -1].detach().numpy())
            assert difference.max() < 1e-4, "not the same model"
            for weights, aim in aims:
                rows.append(_llama_row(theirs, model, weights, aim, rounds))
    report("Tokens a second, against llama2.c", rows)


def _llama_row(theirs: "Llama", model: GPT, weights: str, aim: float, rounds: int) -> dict[str, Any]:
    how = GenerationConfig(max_new_tokens=LLAMA_TOKENS, weights=weights)
    seconds = [
        (
            _cpu_seconds(lambda: theirs.generate(LLAMA_TOKENS)),
            _cpu_seconds(lambda: list(generate(model, [0], how, alternatives=0))),
        )
        for _ in range(rounds + 1)
    ][1:]
    ratios = [llama / ours for llama, ours in seconds]
    llama, ours = (LLAMA_TOKENS / statistics.median(side) for side in zip(*seconds, strict=True))
    config = model.config
    return {
        "layers/heads/width": _shape(config),
        "our weights": weights,
        "llama2.c": round(llama),
        "ours": round(ours),
        "ratio (median)": round(statistics.median(ratios), 2),
        "ratio (least)": round(min(ratios), 2),
        "aim": aim,
    }


BATCH_SHAPES = (  # with what is aimed at: 16 texts in so many times the time of one
    (ModelConfig(n_layer=4, n_head=4, n_embd=128, block_size=64), 2),
    (ModelConfig(n_layer=6, n_head=6, n_embd=384, block_size=256), ""),
)
BATCHES = (1, 2, 4, 8, 16)


def measure_batches(rounds: int = ROUNDS) -> None:
    """Report the time of several texts written side by side, as a multiple of that of one, which takes its turn.

    CPU seconds of one thread, and seconds of two, which are right only where nothing else runs.
    """
    torch.set_num_threads(2)
    load()
    rows = []
    for config, aim in BATCH_SHAPES:
        model = build_model(config, VOCAB).eval()
        for weights in ("float32", "int8"):
            how = GenerationConfig(max_new_tokens=config.block_size, weights=weights)
            row = {"layers/heads/width": _shape(config), "context": config.block_size, "weights": weights}
            for texts in BATCHES[1:]:
                row[f"{texts} texts"] = round(_times_one(model, how, texts, _cpu_seconds, False, rounds), 1)
            row["16, two threads"] = round(_times_one(model, how, 16, _seconds, True, rounds), 1)
            rows.append(row | {"aim": aim})
    report("Several texts at once", rows)


def _times_one(
    model: GPT, how: GenerationConfig, texts: int, clock: Callable[..., float], shared: bool, rounds: int
) -> float:
    def write(count: int) -> None:
        settings = [how.replace({"seed": seed}) for seed in range(count)]
        for tokens in generate_together(model, [[0]] * count, settings, alternatives=0, use_all_threads=shared):
            list(tokens)

    pairs = [(clock(lambda: write(1)), clock(lambda: write(texts))) for _ in range(3 * rounds + 1)]
    return statistics.median(together / one for one, together in pairs[1:])


def _cpu_seconds(work: Callable[[], Any]) -> float:
    start = process_time()
    work()
    return process_time() - start


def write_llama(model: GPT, path: Path) -> None:
    """Write a model of Llama's parts in the format that run.c maps: sizes, then each kind of matrix of all layers."""
    config = model.config
    C, heads = config.n_embd, config.n_head

    def every(name: str) -> list[np.ndarray]:
        return [block.get_parameter(f"{name}.weight").detach().numpy() for block in model.transformer.h]

    def neighbors(rows: np.ndarray) -> np.ndarray:  # it rotates neighboring channels, we those half a head apart
        return rows.reshape(heads, 2, C // heads // 2, C).swapaxes(1, 2).reshape(C, C)

    queries, keys, values = zip(*(np.split(matrix, 3) for matrix in every("attn.c_attn")), strict=True)
    gates, ups = zip(*(np.split(matrix, 2) for matrix in every("mlp.c_fc")), strict=True)
    arrays = [
        model.transformer.wte.weight.detach().numpy(), *every("ln_1"), *map(neighbors, queries), *map(neighbors, keys),
        *values, *every("attn.c_proj"), *every("ln_2"), *gates, *every("mlp.c_proj"), *ups,
        model.transformer.ln_f.weight.detach().numpy(), np.zeros(config.block_size * C // heads, np.float32),
    ]  # fmt: skip
    sizes = (C, len(gates[0]), config.n_layer, heads, heads, VOCAB, config.block_size)
    with path.open("wb") as file:
        file.write(struct.pack("7i", *sizes))
        for array in arrays:
            file.write(np.ascontiguousarray(array, np.float32).tobytes())


class Llama:
    """Return the functions of llama2.c's run.c, which computes with a model file."""

    def __init__(self, library: Path, model: Path):
        self.library = ctypes.CDLL(str(library))
        # Larger than its structs of sizes and pointers.
        self.transformer, self.sampler = (ctypes.create_string_buffer(4096) for _ in range(2))
        self.library.build_transformer(self.transformer, str(model).encode())
        chances = ctypes.c_float(0.8), ctypes.c_float(1.0)
        self.library.build_sampler(self.sampler, VOCAB, *chances, ctypes.c_ulonglong(1))
        self.library.forward.restype = ctypes.c_void_p
        self.library.sample.argtypes = [ctypes.c_void_p, ctypes.c_void_p]

    def logits(self, ids: list[int]) -> np.ndarray:
        for position, id in enumerate(ids):
            address = self.library.forward(self.transformer, id, position)
        return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_float)), (VOCAB,)).copy()

    def generate(self, tokens: int) -> None:
        id = 0
        for position in range(tokens):
            id = self.library.sample(self.sampler, self.library.forward(self.transformer, id, position))
