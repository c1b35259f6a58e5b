"""How one look comes about, as it is told: the arithmetic of one cell of a pattern, step by step."""

import math

import numpy as np

from core.formatting import decimal
from core.interpretability.attention import Cell
from core.text.token_display import quoted
from explorer.charts.text_format import cut, percent
from explorer.components.number_strips import Step, Strip
from explorer.i18n.language import N_, _

MOST_VALUES = 5  # tokens whose weighted values are written out; the others are added up
_DONE = {
    ("normalised",): N_("normalised"),
    ("rotated",): N_("rotated"),
    ("normalised", "rotated"): N_("normalised and rotated"),
}


def cell_in_words(cell: Cell, shown: list[str], query: int, key: int) -> str:
    """The whole way from two letters to one share."""
    looks, other = (_("'{letter}' (letter {number})", letter=shown[place], number=place + 1) for place in (query, key))
    if cell.hidden:
        return _(
            "{looks} cannot look at {other}: that is in its future, so the mask turns the score {score} into −∞.",
            looks=looks, other=other, score=decimal(cell.score),
        )  # fmt: skip
    better = int((cell.row_scores > cell.row_scores[key]).sum())
    told = {
        "looks": looks,
        "share": percent(cell.weight),
        "other": _("itself") if query == key else other,
        "product": decimal(cell.product),
        "score": decimal(cell.score),
    }
    seen = int(np.isfinite(cell.row_scores).sum())
    if seen == 1:
        return _(
            "{looks} looks {share} at {other}: their product {product} makes a score of {score}, and there is nothing "
            "else that it may look at.",
            **told,
        )
    return _(
        "{looks} looks {share} at {other}: their product {product} makes a score of {score}, {place} of the {count} it "
        "may look at.",
        place=_("number {number}", number=better + 1) if better else _("the highest"),
        count=seen,
        **told,
    )


def cell_steps(cell: Cell, shown: list[str], query: int, key: int) -> list[Step]:
    """The arithmetic as steps to draw."""
    size, length = len(cell.q), len(shown)
    strongest = max(np.abs(cell.q).max(), np.abs(cell.k).max())
    done = _(_DONE[cell.steps]) if cell.steps else ""

    def numbers(label: str, values: np.ndarray, most: float) -> Strip:
        return Strip(label, _plain(values), "numbers", "signed", float(most) or 1.0)

    def side(letter: str, projected: np.ndarray, used: np.ndarray) -> list[Strip]:
        before = (
            [numbers(_("{vector} at first", vector=letter), projected, np.abs(projected).max())] if cell.steps else []
        )
        return [*before, numbers(f"{letter}, {done}" if done else letter, used, strongest)]

    hidden = ~np.isfinite(cell.row_scores)
    finite = cell.row_scores[~hidden]
    scores = Strip(
        _("scores"),
        [None if gone else float(score) for score, gone in zip(cell.row_scores, hidden, strict=True)],
        "tokens",
        "signed",
        float(np.abs(finite).max()) or 1.0,
        [cut(token, 5) for token in shown],
        key,
    )
    weights = Strip(_("shares"), _plain(cell.row_weights), "tokens", "share", 1.0, scores.names, key)
    order = np.argsort(-cell.row_weights, kind="stable")
    told = sorted({key, *order[: MOST_VALUES - 1].tolist()})
    rest = [place for place in range(length) if place not in told and not hidden[place]]
    most = max(np.abs(cell.weighted_values).max(), np.abs(cell.z).max())
    weighed = [
        numbers(
            f"{quoted(cut(shown[place], 5))} {percent(float(cell.row_weights[place]))}",
            cell.weighted_values[place],
            most,
        )
        for place in told
    ]
    if rest:
        others = _("1 other") if len(rest) == 1 else _("{count} others", count=len(rest))
        weighed.append(numbers(others, cell.weighted_values[rest].sum(axis=0), most))
    exponent = f"e^{decimal(cell.score)} = {math.exp(min(cell.score, 50)):,.2f}"
    divided = (
        _("divided by the sum over all letters: {share}.", share=percent(cell.weight))
        if cell.hidden
        else _("{power}, divided by the sum over all letters: {share}.", power=exponent, share=percent(cell.weight))
    )
    product, masked = decimal(cell.product), int(hidden.sum())
    return [
        Step(
            _("The query: what '{letter}' looks for", letter=shown[query]),
            f"q: ({size},)",
            "",
            side("q", cell.q_projected, cell.q),
        ),
        Step(
            _("The key: what '{letter}' can be found by", letter=shown[key]),
            f"k: ({size},)",
            "",
            side("k", cell.k_projected, cell.k),
        ),
        Step(
            _("Multiplied number by number, and added up"),
            _("{shape} → one number", shape=f"({size},)"),
            _("The sum of all {count} products is {product}.", count=size, product=product),
            [numbers("q × k", cell.products, np.abs(cell.products).max())],
        ),
        Step(
            _("Scaled"),
            _("one number"),
            _("{product} ÷ √{size} ≈ {score}, the score.", product=product, size=size, score=decimal(cell.score))
            if cell.scale != 1
            else _("This model does not scale: {score} is the score.", score=decimal(cell.score)),
        ),
        Step(
            _("Masked: nobody looks into the future") if masked else _("All scores of this letter"),
            _("{shape}, a row of {whole}", shape=f"({length},)", whole=f"({length}, {length})"),
            (
                _("The same for every letter; the one that comes later gets −∞.")
                if masked == 1
                else _("The same for every letter; {count} that come later get −∞.", count=masked)
                if masked
                else _("The same for every letter.")
            ),
            [scores],
        ),
        Step(
            _("Softmax: scores become shares that add up to 1"),
            f"({length},)",
            divided,
            [weights],
        ),
        Step(_("Values, each times its share"), f"({length},) × ({length}, {size})", "", weighed),
        Step(
            _("Added up: what the head hands on"),
            f"({size},)",
            _("This goes to '{letter}', beside what the other heads found.", letter=shown[query]),
            [numbers("z", cell.z, most)],
        ),
    ]


def _plain(values: np.ndarray) -> list[float]:
    return [round(float(value), 5) for value in values]
