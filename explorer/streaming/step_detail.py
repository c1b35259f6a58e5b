"""A step seen closely, as the page shows it: tokens instead of ids, parts of the model by their names in words."""

from collections.abc import Sequence
from typing import Any

from core.errors import TextError
from core.runs.folder import RunFolder
from core.runs.records import StepDetail
from core.text.token_display import visible
from core.text.tokenizers import load_tokenizer
from explorer.i18n.formatting import part_in_words


def step_detail_data(step_detail: StepDetail, tokens: Sequence[str]) -> dict[str, Any]:
    """Plain values for the browser (assets/components/step_detail/view.js).

    Args:
        tokens: all tokens of the run's tokenizer; the closeup's ids count into it.

    Returns:
        `loss` in nats a token, and without dropout `before` and `after` the step; `pieces`, each with its T + 1
        `tokens` and the T `losses` (nats) of all but the first; `parts` with the length of their `gradient` and
        `weight`, in the order of the model.
    """
    return {
        "step": step_detail.step,
        "loss": step_detail.loss,
        "before": step_detail.before,
        "after": step_detail.after,
        "batch_size": step_detail.batch_size,
        "pieces": [
            {"tokens": [visible(tokens[id]) for id in [*inputs[:1], *targets]], "losses": losses}
            for inputs, targets, losses in zip(step_detail.inputs, step_detail.targets, step_detail.losses, strict=True)
        ],
        "parts": [
            {"name": part_in_words(part), "gradient": gradient, "weight": step_detail.weight_norms.get(part)}
            for part, gradient in step_detail.gradient_norms.items()
        ],
    }


def read_step_detail(folder: RunFolder) -> dict[str, Any] | None:
    """`closeup_data` of the last single step of a run; None if there was none, or it cannot be read."""
    step_detail = folder.read_step_detail()
    if step_detail is None:
        return None
    try:
        return step_detail_data(step_detail, load_tokenizer(folder.tokenizer_path).tokens)
    except (TextError, IndexError, ValueError):  # a damaged file
        return None
