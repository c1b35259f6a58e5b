"""Memory told before a run starts against the peak of the real worker: seven shapes, and a text of 20 MB."""

import tempfile
from pathlib import Path

from core.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from core.runs.folder import RunFolder
from core.text.corpora import load_corpus
from core.text.own_text import MAX_BYTES, save_text
from core.text.tokenizers import CharTokenizer
from core.training.cost import WORKER_BYTES, memory_needed
from tests.benchmarks.estimates import worker_peak
from tests.benchmarks.report import report

NEAR = 0.15
# Tokens known, batch, context, layers, dropout.
SHAPES = (
    (65, 1, 64, 4, 0.0),
    (65, 12, 1024, 4, 0.0),
    (2000, 1, 64, 4, 0.0),
    (2000, 12, 256, 4, 0.0),
    (50_257, 1, 64, 4, 0.0),
    (50_257, 12, 64, 4, 0.0),
    (65, 64, 256, 4, 0.2),
)


def measure() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        for name in ("runs", "texts", "downloads"):
            (data_dir / name).mkdir()
        text = load_corpus("shakespeare", data_dir)
        few = save_text(text[:200_000], "Short", data_dir).name
        much = save_text((text * 5)[: MAX_BYTES - 1], "Long", data_dir).name
        rows = [_row(data_dir, few, text, *shape) for shape in SHAPES]
        report("Memory", [*rows, _row(data_dir, much, text, 65, 12, 64, 4, 0.0)])


def _row(
    data_dir: Path,
    corpus: str,
    text: str,
    vocab_size: int,
    batch_size: int,
    block_size: int,
    layers: int,
    dropout: float,
) -> dict:
    config = RunConfig(
        model=ModelConfig(n_layer=layers, n_head=4, n_embd=64, block_size=block_size, dropout=dropout),
        data=DataConfig(corpus=corpus),
        train=TrainConfig(
            steps=20, batch_size=batch_size, eval_interval=10, eval_windows=64, sample_interval=10, sample_length=40,
            checkpoint_interval=10, snapshots=2, device="cpu", precision="float32",
        ),
    )  # fmt: skip
    known = set(text)
    spare = map(chr, range(0x20000, 0x20000 + max(0, vocab_size - len(known))))  # never met in the text
    tokenizer = CharTokenizer(sorted({*known, *spare}))

    def fill(folder: RunFolder) -> None:
        tokenizer.save(folder.tokenizer_path)

    peak = worker_peak(data_dir, RunFolder.create(data_dir, config, fill=fill))
    told = memory_needed(config, tokenizer.vocab_size, "float32", len(load_corpus(corpus, data_dir))) + WORKER_BYTES
    off = told / peak - 1
    return {
        "tokens": tokenizer.vocab_size,
        "batch": batch_size,
        "context": block_size,
        "dropout": dropout,
        "text": corpus,
        "MB told": round(told / 2**20),
        "MB taken": round(peak / 2**20),
        "off": f"{100 * off:+.0f}%" + (" (!)" if abs(off) > NEAR else ""),
    }
