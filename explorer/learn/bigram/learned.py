"""The bigram of the lesson, trained beside the page, with its table as it was on the way."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from torch import Tensor

from core.fast.threads import one_thread
from core.interpretability import Progress
from core.lessons.bigram import new_bigram, train_bigram
from core.model import Bigram
from core.text.ngrams import Baselines, count_baselines
from core.training.evaluation import whole_split_loss
from explorer.learn.lab import Lab
from explorer.widgets.job_progress import result_of

STEPS, BATCH_SIZE, LEARNING_RATE = 2000, 32, 0.02
_AT_ONCE = 100  # steps between two reports and measurements


@dataclass
class Learned:
    """A trained bigram and how it came to be."""

    model: Bigram
    baselines: Baselines  # what counting reaches on the same text, nats a token
    rows: list[dict[str, float]] = field(default_factory=list)  # as in metrics.jsonl: step, loss, val_loss
    tables: dict[int, Tensor] = field(default_factory=dict)  # (V, V) probabilities by step

    @property
    def val_loss(self) -> float:
        """Of the whole validation part, at the end."""
        return [row["val_loss"] for row in self.rows if "val_loss" in row][-1]


def learned(
    lab: Lab, learning_rate: float = LEARNING_RATE, batch_size: int = BATCH_SIZE, steps: int = STEPS,
    meanwhile: Callable[[Learned | None], None] | None = None,
) -> Learned | None:  # fmt: skip
    """The model, trained on the lab's text; None, with a bar in its place, while it is being trained.

    Args:
        meanwhile: draws, below the bar, how far it has come (`explorer.services.jobs.result_of`).
    """
    key = (*lab.key, "bigram", learning_rate, batch_size, steps)
    found = result_of(key, lambda: _train(lab, learning_rate, batch_size, steps), lab.word("training"), meanwhile)
    if found is not None:
        lab.found["learned"] = found
    return found


def _train(lab: Lab, learning_rate: float, batch_size: int, steps: int) -> Iterator[Progress[Learned]]:
    with one_thread():
        baselines = count_baselines(lab.train_ids, lab.val_ids, lab.vocab_size, range(1, len(lab.val_ids)))
        found = Learned(new_bigram(lab.vocab_size, lab.seed), baselines)
        found.tables[0] = found.model.table()
        found.rows.append({"step": 0, "val_loss": whole_split_loss(found.model, lab.val_ids)})
    loop = train_bigram(
        found.model, lab.train_ids, steps=steps, batch_size=batch_size, learning_rate=learning_rate, seed=lab.seed
    )
    for begin in range(0, steps, _AT_ONCE):
        with one_thread():
            for step, loss in (next(loop) for _ in range(min(_AT_ONCE, steps - begin))):
                found.rows.append({"step": step, "loss": loss})
                if _is_round(step) or step == steps:
                    found.tables[step] = found.model.table()
            found.rows.append({"step": step, "val_loss": whole_split_loss(found.model, lab.val_ids)})
        yield Progress(step, steps, found)


def _is_round(step: int) -> bool:
    """1, 2, 5, 10, 20, 50, ..."""
    return str(step).rstrip("0") in ("1", "2", "5")
