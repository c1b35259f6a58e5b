"""Where does the loss live?"""

from collections.abc import Iterator

import numpy as np
import streamlit as st
import torch
from torch import Tensor

from core.errors import TextError
from core.interpretability import Progress
from core.interpretability.activations import rows_at_once
from core.interpretability.token_losses import KindLoss, foresight, loss_by_kind, loss_by_position, window_losses
from core.model import parameter_count
from core.text.token_display import visible
from core.text.tokenizers import token_texts
from explorer.charts.text_format import percent
from explorer.charts.token_losses import kind_bars, position_curve, smoothed
from explorer.components.text import token_text
from explorer.i18n.formatting import loss_in_words
from explorer.i18n.language import N_, _
from explorer.look_inside.run_text import material, windows
from explorer.look_inside.view import Inspection
from explorer.services.generated_tokens import foreseen_tokens
from explorer.services.jobs import result_of
from explorer.services.results_cache import kept
from explorer.widgets import address
from explorer.widgets.layout import card, chart, current_palette, sentence, show_error

LONGEST = 256  # tokens of a piece
MOST_PIECES, FEWEST_PIECES = 512, 16
_WORK = 2e10  # parameters times tokens: some seconds
PASSAGE = 400  # tokens
_PLURALS = {
    "vowel": N_("vowels"),
    "consonant": N_("consonants"),
    "capital": N_("capitals"),
    "digit": N_("digits"),
    "punctuation": N_("punctuation marks"),
    "space": N_("spaces and line ends"),
    "letter": N_("letters of other scripts"),
    "other": N_("other signs"),
}
_ONE = {"letters": N_("letter"), "tokens": N_("token")}


def draw(inspection: Inspection) -> None:
    """The loss along the context, by kind of token, and on a passage token by token."""
    unit = "letters" if inspection.tokenizer.by_character else "tokens"
    try:
        with st.spinner(_("Reading the text ...")):
            pieces = _pieces(inspection)
    except TextError as error:
        show_error(error)
        return
    losses = result_of(
        ("losses", *inspection.key), lambda: measured(inspection, pieces), _("Reading what it was not trained on")
    )
    if losses is not None:
        left, right = st.columns(2)
        with left:
            _position_card(losses.numpy(), unit)
        with right:
            _kind_card(inspection, losses.numpy(), pieces)
    _passage_card(inspection, unit)


def measured(inspection: Inspection, pieces: Tensor) -> Iterator[Progress[Tensor]]:
    """The losses (N, T) of all pieces (N, T + 1), a few rows at a time."""
    found = []
    for part in pieces.split(rows_at_once(inspection.model, pieces.size(1) - 1)):
        found.append(window_losses(inspection.model, part))
        yield Progress(sum(map(len, found)), len(pieces), torch.cat(found))


def position_in_words(losses: np.ndarray, unit: str) -> str:
    """What reading more is worth, from the losses (T,) at each place."""
    line = smoothed(losses)
    first, last = float(line[0]), float(line[-1])
    told = {"unit": _(_ONE[unit]), "loss": f"{first:.2f}", "choice": loss_in_words(first, unit)}
    if len(line) < 2:
        return _("Knowing one {unit} its loss is {loss}, {choice}.", **told)
    told |= {"count": f"{len(line):,}", "last": f"{last:.2f}"}
    gain = first - last
    if gain < 0.05:
        return _(
            "Knowing one {unit} its loss is {loss}, {choice}; knowing {count} it is {last}: what stands further back "
            "does not help it.",
            **told,
        )
    enough = int(np.argmax(line <= last + 0.1 * gain)) + 1
    return _(
        "Knowing one {unit} its loss is {loss}, {choice}; knowing {count} it is {last}, {last_choice}. Nine tenths of "
        "that gain are there after {enough}.",
        last_choice=loss_in_words(last, unit), enough=f"{enough:,}", **told,
    )  # fmt: skip


def kinds_in_words(kinds: list[KindLoss], unit: str) -> str:
    """Which kind is hardest, and which costs most."""
    hardest, costly = max(kinds, key=lambda kind: kind.loss), max(kinds, key=lambda kind: kind.share)
    told = {
        "hardest": _(_PLURALS[hardest.kind]),
        "loss": f"{hardest.loss:.2f}",
        "choice": loss_in_words(hardest.loss, unit),
        "share": percent(costly.share),
    }
    if hardest.kind == costly.kind:
        return _(
            "Hardest to foresee are {hardest} ({loss}, {choice}), and they make up most of the loss too: {share}.",
            **told,
        )
    return _(
        "Hardest to foresee are {hardest} ({loss}, {choice}); most of the loss, {share}, comes from {costly}, as they "
        "are many.",
        costly=_(_PLURALS[costly.kind]), **told,
    )  # fmt: skip


def _pieces(inspection: Inspection) -> Tensor:
    length = min(inspection.model.block_size, LONGEST // 2 if inspection.large else LONGEST)
    count = int(_WORK / (parameter_count(inspection.model) * length))
    return windows(inspection, length, min(MOST_PIECES, max(FEWEST_PIECES, count)))


def _position_card(losses: np.ndarray, unit: str) -> None:
    curve = loss_by_position(losses)
    with card(
        _("Does it help to have read more?"),
        more=_(
            "The model reads pieces of text that it was not trained on. At the start of a piece it knows next to "
            "nothing of what came before, further on it has read more. Each dot is the mean over {count} pieces, the "
            "line their running mean. A line that goes on falling to its end says that a longer context would help.",
            count=f"{len(losses):,}",
        ),
        key="card_loss_position",
    ):
        st.caption(position_in_words(curve, unit))
        chart(
            position_curve(curve, current_palette(), unit=unit),
            key="loss_position",
            numbers=lambda: {f"{unit} read": range(1, len(curve) + 1), "loss in nats": curve},
            name="loss-by-position",
        )


def _kind_card(inspection: Inspection, losses: np.ndarray, pieces: Tensor) -> None:
    kinds = loss_by_kind(losses, pieces[:, 1:], inspection.tokenizer.tokens)
    unit = "letters" if inspection.tokenizer.by_character else "tokens"
    with card(
        _("Which letters are hard to foresee?"),
        more=_(
            "The mean loss of each kind of letter, on text that the model was not trained on, and how much of its "
            "whole loss it spends there. Inside a word much is settled; where a word begins, much is open. A token of "
            "several characters counts as its first one."
        ),
        key="card_loss_kind",
    ):
        st.caption(kinds_in_words(kinds, unit))
        chart(
            kind_bars(kinds, current_palette()),
            key="loss_kind",
            numbers=lambda: {
                "kind": [kind.kind for kind in kinds],
                "loss in nats": [kind.loss for kind in kinds],
                "count": [kind.count for kind in kinds],
                "share of the loss": [kind.share for kind in kinds],
            },
            name="loss-by-kind",
        )


def _passage_card(inspection: Inspection, unit: str) -> None:
    turned = address.recall("loss_passage", 0)
    ids = _passage(inspection, turned)
    with card(
        _("How does it fare on a passage that it never saw?"),
        more=_(
            "A passage from the part of the text that was kept aside. Each letter is shaded by the probability that "
            "the model gave it, having read what stands before it: point at one to see what else it considered there."
        ),
        key="card_loss_passage",
    ):
        found = kept(inspection.model, ("foreseen", *ids), lambda: foresight(inspection.model, ids))
        tokens = foreseen_tokens(ids, found, inspection.tokenizer)
        shown, texts = [token["visible"] for token in tokens], [token["text"] for token in tokens]
        st.caption(sentence(passage_in_words([token["p"] for token in tokens], shown, texts)))
        token_text(
            prompt=token_texts(inspection.tokenizer, ids)[0],
            go=f"{inspection.key} {turned}",
            tokens=tokens,
            key="loss_passage_text",
        )
        st.button(
            _("Another passage"),
            icon=":material/casino:",
            key="loss_passage_next",
            on_click=lambda: address.remember("loss_passage", turned + 1),
        )


def passage_in_words(probabilities: list[float], shown: list[str], texts: list[str]) -> str:
    """The loss on it, and the greatest surprise.

    Args:
        shown, texts: each token as it is listed, and the text it completes.
    """
    loss = float(np.mean([-np.log(max(p, 1e-6)) for p in probabilities]))
    worst = int(np.argmin(probabilities))
    before = visible("".join(texts[max(0, worst - 12) : worst]))
    sure = sum(p >= 0.5 for p in probabilities) / len(probabilities)
    told = {
        "loss": f"{loss:.2f}",
        "sure": percent(sure),
        "count": len(shown),
        "letter": shown[worst],
        "share": percent(probabilities[worst]),
    }
    if not before:
        return _(
            "Here its loss is {loss}; of {sure} of the {count} it was more than half sure. Its greatest surprise is "
            "'{letter}' ({share}).",
            **told,
        )
    return _(
        "Here its loss is {loss}; of {sure} of the {count} it was more than half sure. Its greatest surprise is "
        "'{letter}' after '{before}' ({share}).",
        before=before, **told,
    )  # fmt: skip


def _passage(inspection: Inspection, turned: int) -> list[int]:
    """A stretch of the validation split that begins with a line; another one for each turn."""
    validation = material(inspection).validation
    length = min(PASSAGE if not inspection.large else PASSAGE // 4, len(validation) // 2 + 1)
    start = turned * 7919 % (len(validation) - length + 1)
    opening = validation[start : start + length].tolist()
    ends = [place + 1 for place, id in enumerate(opening) if visible(inspection.tokenizer.tokens[id]).endswith("⏎")]
    start += ends[0] if ends and start + ends[0] + length <= len(validation) else 0
    return validation[start : start + length].tolist()
