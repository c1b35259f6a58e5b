"""Run the benchmarks, print their tables and write them into docs/benchmarks.md.

python -m tests.benchmarks [--text FILE] [--nanogpt FOLDER] [--minbpe FOLDER] [--llama2 FOLDER]
                           [--only NAME ...] [--out bench.json] [--document docs/benchmarks.md]
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks import (
    ablation,
    board,
    classroom,
    estimates,
    generation,
    growth,
    health_cost,
    inspection,
    live,
    long_run,
    memory,
    nanogpt,
    picture,
    quality,
    throughput,
    tokens,
)
from tests.benchmarks.cluster import engines, waiting
from tests.benchmarks.report import report, send_to, why_not_writable

# Each says what it measures; `text` is Tiny Shakespeare, `nanogpt` a checkout of nanoGPT.
BENCHMARKS = {
    "quality": lambda given: _figures("Quality", quality.measure(given.text)),
    "minutes": lambda given: quality.measure_recipe(given.text),
    "time-to-quality": lambda given: nanogpt.measure(given.nanogpt, given.text),
    "ablation": lambda given: ablation.measure(given.text),
    "generation": lambda given: generation.measure(given.nanogpt),
    "generation-in-c": lambda given: generation.measure_llama(given.llama2),
    "generation-of-batches": lambda given: generation.measure_batches(),
    "inspection": lambda given: inspection.measure(),
    "throughput": lambda given: throughput.measure(given.nanogpt),
    "estimates": lambda given: estimates.measure(),
    "gauge": lambda given: estimates.measure_gauge(),
    "memory": lambda given: memory.measure(),
    "footprint": lambda given: memory.measure_footprint(),
    "growth": lambda given: growth.measure(),
    "health": lambda given: _figures("Cost of measuring a training's health", health_cost.measure()),
    "board": lambda given: _figures("All heads of GPT-2 in a browser", board.measure()),
    "picture": lambda given: _figures("The picture of the whole model", picture.measure()),
    "live": lambda given: _figures("The page while a run is live", live.measure()),
    "classroom": lambda given: _figures("A class of thirty", classroom.measure()),
    "shared-run": lambda given: _figures("One run that a class opens", classroom.measure_shared_run()),
    "sessions": lambda given: _figures("Sessions that lose their connection", classroom.measure_sessions()),
    "waiting": lambda given: _figures("1,000 runs of 100 students on 16 GPUs", waiting.measure()),
    "processes": lambda given: _figures("Two processes against one", engines.measure_processes()),
    "engines": lambda given: _figures("A Ray cluster against this machine's processes", engines.measure()),
    "long-run": lambda given: long_run.measure(),
    "token-speed": lambda given: tokens.measure_speed(given.text, given.minbpe),
    "bits-per-byte": lambda given: tokens.measure_bits(given.text),
    "large-text": lambda given: tokens.measure_large(given.text),
    "grokking": lambda given: tokens.measure_grokking(),
}
NEEDS = {
    "quality": ("text",),
    "minutes": ("text",),
    "time-to-quality": ("text", "nanogpt"),
    "ablation": ("text",),
    "generation": ("nanogpt",),
    "generation-in-c": ("llama2",),
    "throughput": ("nanogpt",),
    "token-speed": ("text", "minbpe"),
    "bits-per-byte": ("text",),
    "large-text": ("text",),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, help="Tiny Shakespeare, for the losses published on it")
    parser.add_argument("--nanogpt", type=Path, help="a checkout of nanoGPT, to be measured side by side")
    parser.add_argument("--minbpe", type=Path, help="a checkout of minbpe, to be measured side by side")
    parser.add_argument("--llama2", type=Path, help="a checkout of llama2.c, to be compiled by gcc and measured alike")
    parser.add_argument(
        "--only", nargs="+", choices=BENCHMARKS, help="all for which what they need is given, if left out"
    )
    parser.add_argument("--out", type=Path, default=Path("bench.json"), help="figures as JSON (default: %(default)s)")
    parser.add_argument(
        "--document", type=Path, default=Path("docs/benchmarks.md"), help="tables in markdown (default: %(default)s)"
    )
    given = parser.parse_args()
    missing = {name: [f"--{need}" for need in NEEDS.get(name, ()) if not getattr(given, need)] for name in BENCHMARKS}
    for name in given.only or ():
        if missing[name]:
            parser.error(f"{name} needs {' and '.join(missing[name])}")
    if problem := why_not_writable(given.out) or why_not_writable(given.document):
        parser.error(problem)
    send_to(given.out, given.document)
    for name in given.only or BENCHMARKS:
        if missing[name]:
            print(f"{name} is left out: it needs {' and '.join(missing[name])}.")
        else:
            BENCHMARKS[name](given)


def _figures(name: str, figures: Mapping[str, str | float]) -> None:
    rows = figures.items()
    report(
        name,
        [{"what": what, "measured": f"{value:.3g}" if isinstance(value, float) else value} for what, value in rows],
    )


if __name__ == "__main__":
    main()
