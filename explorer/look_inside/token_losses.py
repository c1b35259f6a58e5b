"""Where does the loss live?"""

from collections.abc import Iterator

import numpy as np
import streamlit as st
import torch
from torch import Tensor

from core.errors import TextError
from core.interpretability.activations import rows_at_once
from core.interpretability.progress import Progress
from core.interpretability.token_losses import KindLoss, foresight, loss_by_kind, loss_by_position, window_losses
from core.model import parameter_count
from core.text.token_display import visible
from core.text.tokenizers import CharTokenizer, token_texts
from explorer.charts.text_format import percent
from explorer.charts.token_losses import kind_bars, position_curve, smoothed
from explorer.components.token_text import token_text
from explorer.i18n.formatting import loss_in_words
from explorer.i18n.language import later, say
from explorer.look_inside.run_text import material, windows
from explorer.look_inside.view import Inside
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
    "vowel": later("vowels"),
    "consonant": later("consonants"),
    "capital": later("capitals"),
    "digit": later("digits"),
    "punctuation": later("punctuation marks"),
    "space": later("spaces and line ends"),
    "letter": later("letters of other scripts"),
    "other": later("other signs"),
}
_ONE = {"letters": later("letter"), "tokens": later("token")}


def draw(inside: Inside) -> None:
    """The loss along the context, by kind of token, and on a passage token by token."""
    unit = "letters" if isinstance(inside.tokenizer, CharTokenizer) else "tokens"
    try:
        with st.spinner(say("Reading the text ...")):
            pieces = _pieces(inside)
    except TextError as error:
        show_error(error)
        return
    losses = result_of(
        ("losses", *inside.key), lambda: measured(inside, pieces), say("Reading what it was not trained on")
    )
    if losses is not None:
        left, right = st.columns(2)
        with left:
            _position_card(losses.numpy(), unit)
        with right:
            _kind_card(inside, losses.numpy(), pieces)
    _passage_card(inside, unit)


def measured(inside: Inside, pieces: Tensor) -> Iterator[Progress[Tensor]]:
    """The losses (N, T) of all pieces (N, T + 1), a few rows at a time."""
    found = []
    for part in pieces.split(rows_at_once(inside.model, pieces.size(1) - 1)):
        found.append(window_losses(inside.model, part))
        yield Progress(sum(map(len, found)), len(pieces), torch.cat(found))


def position_in_words(losses: np.ndarray, unit: str) -> str:
    """What reading more is worth, from the losses (T,) at each place."""
    line = smoothed(losses)
    first, last = float(line[0]), float(line[-1])
    told = {"unit": say(_ONE[unit]), "loss": f"{first:.2f}", "choice": loss_in_words(first, unit)}
    if len(line) < 2:
        return say("Knowing one {unit} its loss is {loss}, {choice}.", **told)
    told |= {"count": f"{len(line):,}", "last": f"{last:.2f}"}
    gain = first - last
    if gain < 0.05:
        return say(
            "Knowing one {unit} its loss is {loss}, {choice}; knowing {count} it is {last}: what stands further back "
            "does not help it.",
            **told,
        )
    enough = int(np.argmax(line <= last + 0.1 * gain)) + 1
    return say(
        "Knowing one {unit} its loss is {loss}, {choice}; knowing {count} it is {last}, {last_choice}. Nine tenths of "
        "that gain are there after {enough}.",
        last_choice=loss_in_words(last, unit), enough=f"{enough:,}", **told,
    )  # fmt: skip


def kinds_in_words(kinds: list[KindLoss], unit: str) -> str:
    """Which kind is hardest, and which costs most."""
    hardest, costly = max(kinds, key=lambda kind: kind.loss), max(kinds, key=lambda kind: kind.share)
    told = {
        "hardest": say(_PLURALS[hardest.kind]),
        "loss": f"{hardest.loss:.2f}",
        "choice": loss_in_words(hardest.loss, unit),
        "share": percent(costly.share),
    }
    if hardest.kind == costly.kind:
        return say(
            "Hardest to foresee are {hardest} ({loss}, {choice}), and they make up most of the loss too: {share}.",
            **told,
        )
    return say(
        "Hardest to foresee are {hardest} ({loss}, {choice}); most of the loss, {share}, comes from {costly}, as they "
        "are many.",
        costly=say(_PLURALS[costly.kind]), **told,
    )  # fmt: skip


def _pieces(inside: Inside) -> Tensor:
    length = min(inside.model.block_size, LONGEST // 2 if inside.large else LONGEST)
    count = int(_WORK / (parameter_count(inside.model) * length))
    return windows(inside, length, min(MOST_PIECES, max(FEWEST_PIECES, count)))


def _position_card(losses: np.ndarray, unit: str) -> None:
    curve = loss_by_position(losses)
    with card(
        say("Does it help to have read more?"),
        more=say(
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


def _kind_card(inside: Inside, losses: np.ndarray, pieces: Tensor) -> None:
    kinds = loss_by_kind(losses, pieces[:, 1:], inside.tokenizer.tokens)
    unit = "letters" if isinstance(inside.tokenizer, CharTokenizer) else "tokens"
    with card(
        say("Which letters are hard to foresee?"),
        more=say(
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


def _passage_card(inside: Inside, unit: str) -> None:
    turned = address.recall("loss_passage", 0)
    ids = _passage(inside, turned)
    with card(
        say("How does it fare on a passage that it never saw?"),
        more=say(
            "A passage from the part of the text that was kept aside. Each letter is shaded by the probability that "
            "the model gave it, having read what stands before it: point at one to see what else it considered there."
        ),
        key="card_loss_passage",
    ):
        found = kept(inside.model, ("foreseen", *ids), lambda: foresight(inside.model, ids))
        tokens = foreseen_tokens(ids, found, inside.tokenizer)
        shown, texts = [token["visible"] for token in tokens], [token["text"] for token in tokens]
        st.caption(sentence(passage_in_words([token["p"] for token in tokens], shown, texts)))
        token_text(
            prompt=token_texts(inside.tokenizer, ids)[0],
            go=f"{inside.key} {turned}",
            tokens=tokens,
            key="loss_passage_text",
        )
        st.button(
            say("Another passage"),
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
        return say(
            "Here its loss is {loss}; of {sure} of the {count} it was more than half sure. Its greatest surprise is "
            "'{letter}' ({share}).",
            **told,
        )
    return say(
        "Here its loss is {loss}; of {sure} of the {count} it was more than half sure. Its greatest surprise is "
        "'{letter}' after '{before}' ({share}).",
        before=before, **told,
    )  # fmt: skip


def _passage(inside: Inside, turned: int) -> list[int]:
    """A stretch of the validation split that begins with a line; another one for each turn."""
    validation = material(inside).validation
    length = min(PASSAGE if not inside.large else PASSAGE // 4, len(validation) // 2 + 1)
    start = turned * 7919 % (len(validation) - length + 1)
    opening = validation[start : start + length].tolist()
    ends = [place + 1 for place, id in enumerate(opening) if visible(inside.tokenizer.tokens[id]).endswith("⏎")]
    start += ends[0] if ends and start + ends[0] + length <= len(validation) else 0
    return validation[start : start + length].tolist()
