"""Where is the loss high: by position in the context, by kind of token, and on a held-out passage?"""

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
import streamlit as st
import torch
from torch import Tensor

from core.formatting import decimal
from core.interpretability import Progress
from core.interpretability.activations import rows_at_once
from core.interpretability.token_losses import KindLoss, loss_by_kind, loss_by_position, window_losses
from core.text.token_display import visible
from core.text.tokenizers import token_texts
from explorer.charts.bars import kind_bars
from explorer.charts.loss import UNITS, LossUnit, position_curve, running_mean
from explorer.charts.text_format import percent
from explorer.i18n.language import N_, _, ngettext
from explorer.look_inside.inspection import Inspection
from explorer.look_inside.predictions import draw_predicted
from explorer.look_inside.run_text import affordable_windows, run_text, task_name, windows
from explorer.widgets import session
from explorer.widgets.job_progress import result_of
from explorer.widgets.layout import card, chart, choose, current_palette
from explorer.widgets.run_rows import run_bytes_per_token

LONGEST = 256  # tokens of a window
MAX_WINDOWS, MIN_WINDOWS = 512, 16
PASSAGE = 400  # tokens
_PLURALS = {
    "vowel": N_("vowels"),
    "consonant": N_("consonants"),
    "capital": N_("capitals"),
    "digit": N_("digits"),
    "punctuation": N_("punctuation marks"),
    "space": N_("spaces and line ends"),
    "letter": N_("other scripts"),
    "other": N_("other signs"),
}
_POSITIONS = N_(
    "Dots are means over all windows, the line their running mean. If it still falls at its end, a longer context "
    "would help."
)
_KINDS = N_(
    "Mean loss on held-out text, and share of the total. The start of a word is hard to predict, its inside easier. A "
    "longer token counts by its first character."
)
_PASSAGE = N_(
    "Validation text, each token shaded by the probability that the model gave it after reading what comes before. "
    "Point at or tap one to see the alternatives."
)


def draw(inspection: Inspection) -> None:
    """Draw the loss by position, by kind of token, and token by token on a passage."""
    if task_name(inspection):
        st.info(_("Only answers were trained on. The high loss on questions, which are random, says nothing."))
    with st.container(key="losses_measured"):
        with st.spinner(_("Reading the text ...")):
            measured_on = _windows(inspection)
        work = partial(measure, inspection, measured_on)
        losses = result_of(("losses", *inspection.key), work, _("Measuring on held-out text"))
        if losses is not None:
            left, right = st.columns(2)
            with left:
                _position_card(inspection, losses.numpy())
            with right:
                _kind_card(inspection, losses.numpy(), measured_on)
    _passage_card(inspection)


def _windows(inspection: Inspection) -> Tensor:
    length = min(inspection.model.block_size, LONGEST // 2 if inspection.large else LONGEST)
    return windows(inspection, length, affordable_windows(inspection, length, MIN_WINDOWS, MAX_WINDOWS))


def measure(inspection: Inspection, measured_on: Tensor) -> Iterator[Progress[Tensor]]:
    """Measure the losses (N, T) on all windows (N, T + 1), a few rows at a time."""
    losses = []
    for part in measured_on.split(rows_at_once(inspection.model, measured_on.size(1) - 1)):
        losses.append(window_losses(inspection.model, part))
        yield Progress(sum(map(len, losses)), len(measured_on), torch.cat(losses))


def _position_card(inspection: Inspection, losses: np.ndarray) -> None:
    curve = loss_by_position(losses)
    measured = ngettext(
        "Measured on {count} window of held-out text.", "Measured on {count} windows of held-out text.", len(losses)
    )
    more = f"{measured} {_(_POSITIONS)}"
    with card(_("Loss by position"), _("Does more context help?"), more=more, key="card_loss_position"):
        st.caption(position_in_words(curve))
        columns = {"tokens read": range(1, len(curve) + 1), "loss in nats": curve}
        size = run_bytes_per_token(inspection.folder)
        units = [name for name in UNITS if name != "bits" or size]
        name = choose(_("Unit"), units, key="loss_position_unit", format_func=lambda name: _(UNITS[name]))
        figure = position_curve(curve, current_palette(), LossUnit(name, size or 1.0))
        chart(figure, key="loss_position", name="loss-by-position", numbers=lambda: columns)


def position_in_words(losses: np.ndarray) -> str:
    """Return what a longer context is worth, from the losses (T,) at each position."""
    line = running_mean(losses)
    first, last = float(line[0]), float(line[-1])
    begin = _("With one token of context the loss is {loss} nats/token.", loss=decimal(first))
    if len(line) < 2:
        return begin
    values = {"count": f"{len(line):,}", "loss": decimal(last)}
    gain = first - last
    if gain < 0.05:
        return f"{begin} {_('With {count} it is {loss}: more context does not help.', **values)}"
    enough = int(np.argmax(line <= last + 0.1 * gain)) + 1
    end = _("With {count} it is {loss}; the first {enough} bring 90% of that gain.", enough=f"{enough:,}", **values)
    return f"{begin} {end}"


def _kind_card(inspection: Inspection, losses: np.ndarray, measured_on: Tensor) -> None:
    kinds = loss_by_kind(losses, measured_on[:, 1:], inspection.tokenizer.tokens)
    with card(_("Loss by kind of token"), _("Which tokens are hard to predict?"), more=_(_KINDS), key="card_loss_kind"):
        st.caption(kinds_in_words(kinds))
        names = ("kind", "loss in nats", "count", "share of the loss")
        columns = dict(zip(names, zip(*kinds, strict=True), strict=True))
        chart(kind_bars(kinds, current_palette()), key="loss_kind", name="loss-by-kind", numbers=lambda: columns)


def kinds_in_words(kinds: list[KindLoss]) -> str:
    """Return which kind is hardest, and which makes up most of the loss."""
    hardest, costly = max(kinds, key=lambda kind: kind.loss), max(kinds, key=lambda kind: kind.share)
    return _(
        "Hardest to predict: {hardest}, {loss} nats (perplexity {perplexity}). Largest share of the total loss: "
        "{costly}, {share}.",
        hardest=_(_PLURALS[hardest.kind]), loss=decimal(hardest.loss), perplexity=f"{math.exp(hardest.loss):.1f}",
        costly=_(_PLURALS[costly.kind]), share=percent(costly.share),
    )  # fmt: skip


def _passage_card(inspection: Inspection) -> None:
    number = session.recall("loss_passage", 0)
    ids = _passage(inspection, number)
    note = _("How well does the model predict text that it was not trained on?")
    with card(_("Loss on a held-out passage"), note, more=_(_PASSAGE), key="card_loss_passage"):
        tokenizer = inspection.tokenizer
        shown, texts = [visible(tokenizer.tokens[id]) for id in ids[1:]], token_texts(tokenizer, ids)[1:]
        words = partial(passage_in_words, shown=shown, texts=texts)
        draw_predicted(inspection, ids, number, words, key="loss_passage_text")
        session.reseed_button(_("Another passage"), "loss_passage", "loss_passage_next")


def passage_in_words(probabilities: list[float], shown: list[str], texts: list[str]) -> str:
    """Return the passage's loss, and its least likely token (as in `shown`) with the `texts` before it."""
    loss = float(np.mean([-np.log(max(p, 1e-6)) for p in probabilities]))
    worst = int(np.argmin(probabilities))
    words = _(
        "Loss here: {loss} nats/token. Tokens with a probability above 50%: {share}.",
        loss=decimal(loss), share=percent(sum(p >= 0.5 for p in probabilities) / len(probabilities)),
    )  # fmt: skip
    least = {"token": shown[worst], "share": percent(probabilities[worst])}
    before = visible("".join(texts[max(0, worst - 12) : worst]))
    unlikely = N_("Least likely: '{token}' ({share}).")
    if before:
        unlikely = N_("Least likely: '{token}' after '{before}' ({share}).")
    return f"{words} {_(unlikely, before=before, **least)}"


def _passage(inspection: Inspection, number: int) -> list[int]:
    validation = run_text(inspection).validation
    length = min(PASSAGE if not inspection.large else PASSAGE // 4, len(validation) // 2 + 1)
    start = number * 7919 % (len(validation) - length + 1)
    opening = validation[start : start + length].tolist()
    ends = [place + 1 for place, id in enumerate(opening) if visible(inspection.tokenizer.tokens[id]).endswith("⏎")]
    start += ends[0] if ends and start + ends[0] + length <= len(validation) else 0
    return validation[start : start + length].tolist()
