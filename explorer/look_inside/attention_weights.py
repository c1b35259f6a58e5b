"""How is one attention weight computed? The arithmetic of one cell of a pattern, step by step."""

from dataclasses import replace

import numpy as np
import streamlit as st

from core.formatting import decimal, head_name, power_of_e
from core.interpretability.attention import AttentionWeight, attention_patterns, attention_weight_steps
from core.text.token_display import quoted
from explorer.charts.text_format import cut, percent
from explorer.components.attention_patterns import Strip, StripStep, number_strips
from explorer.i18n.language import N_, _, ngettext
from explorer.look_inside.inspection import Inspection, head_of, select
from explorer.services.shared import result_for
from explorer.widgets.layout import card, sentence

QUERY, KEY = "cell_query", "cell_key"
MAX_VALUES = 5  # tokens whose weighted values are written out; the others are added up
_CELL = N_(
    "The lecture's arithmetic, with this model's numbers: `wei = q @ k.T * scale`, mask, `softmax`, `wei @ v`. Numbers "
    "in one column belong together: point at one."
)
_DONE = {
    ("normalised",): (N_("{vector} before normalization"), N_("{vector}, normalized")),
    ("rotated",): (N_("{vector} before RoPE"), N_("{vector} after RoPE")),
    ("normalised", "rotated"): (
        N_("{vector} before normalization and RoPE"),
        N_("{vector}, normalized, after RoPE"),
    ),
}


def patterns_of(inspection: Inspection) -> np.ndarray:
    """Return the attention patterns (L, H, T, T) of the prompt, cached."""
    model, ids = inspection.model, inspection.prompt.ids
    return result_for(model, ("patterns", *ids), lambda: attention_patterns(model, ids))


def draw(inspection: Inspection) -> None:
    """Draw the arithmetic of one attention weight of the current head."""
    shown, model, ids = inspection.prompt.shown, inspection.model, inspection.prompt.ids
    layer, head = head_of(model)
    title = _("Computing one attention weight, head {place}", place=head_name(layer, head))
    with card(title, _("How much does a query attend to a key, and why?"), more=_(_CELL), key="card_cell"):
        left, right = st.columns(2)
        with left:
            query = _choose(_("Query position"), QUERY, shown, len(shown) - 1)
        with right:
            key = _choose(_("Key position"), KEY, shown, int(patterns_of(inspection)[layer, head, query].argmax()))
        place = (layer, head, query, key)
        cell = result_for(model, ("cell", *place, *ids), lambda: attention_weight_steps(model, ids, *place))
        st.caption(sentence(cell_in_words(cell, shown, query, key)))
        number_strips(cell_steps(cell, shown, query, key), key="cell_steps")


def _choose(label: str, key: str, shown: list[str], default: int) -> int:
    names = [f"{place}: {quoted(token)}" for place, token in enumerate(shown, start=1)]
    return select(label, range(len(shown)), key=key, default=default, format_func=names.__getitem__)


def cell_in_words(cell: AttentionWeight, shown: list[str], query: int, key: int) -> str:
    """Return a sentence that leads from two tokens to one attention weight."""
    one, other = (_("'{token}' (token {number})", token=shown[place], number=place + 1) for place in (query, key))
    values = {
        "query": one,
        "key": _("itself") if query == key else other,
        "share": percent(cell.weight),
        "product": decimal(cell.product),
        "score": decimal(cell.score),
    }
    if cell.hidden and key < query:
        return _("{query} cannot attend to {key}, which is outside the window: the mask sets {score} to −∞.", **values)
    if cell.hidden:
        return _("{query} cannot attend to {key}, which comes later: the mask sets the score {score} to −∞.", **values)
    count = int(np.isfinite(cell.row_scores).sum())
    if count == 1:
        return _("{query} attends {share} to {key}: product {product}, score {score}; there is no other key.", **values)
    values |= {"rank": int((cell.row_scores > cell.row_scores[key]).sum()) + 1, "count": count}
    return ngettext(
        "{query} attends {share} to {key}: product {product}, score {score}, rank {rank} of {count} key.",
        "{query} attends {share} to {key}: product {product}, score {score}, rank {rank} of {count} keys.",
        count, **values,
    )  # fmt: skip


def cell_steps(cell: AttentionWeight, shown: list[str], query: int, key: int) -> list[StripStep]:
    """Return the arithmetic as steps to draw."""
    size, length = len(cell.q), len(shown)
    hidden = ~np.isfinite(cell.row_scores)
    finite = cell.row_scores[~hidden]
    names = [cut(token, 5) for token in shown]
    scores = Strip(
        _("scores"), [None if gone else float(score) for score, gone in zip(cell.row_scores, hidden, strict=True)],
        "tokens", "signed", float(np.abs(finite).max()) or 1.0, names, key,
    )  # fmt: skip
    weights = Strip.of_numbers(_("attention weights"), cell.row_weights, 1.0)
    weights = replace(weights, of="tokens", scale="share", names=names, marked=key)
    product, score, masked = decimal(cell.product), decimal(cell.score), int(hidden.sum())
    exponent = power_of_e(cell.score)
    gate = "" if cell.gate is None else _("The gate multiplies it by {gate}.", gate=decimal(cell.gate)) + " "
    values = {"product": product, "score": score, "count": size, "share": percent(cell.weight), "token": shown[query]}
    return [
        StripStep(_("Query: what '{token}' looks for", **values), f"q: ({size},)", "", _vectors("q", cell)),
        StripStep(_("Key: what '{token}' can be found by", token=shown[key]), f"k: ({size},)", "", _vectors("k", cell)),
        StripStep(
            _("Dot product"),
            _("{shape} → one number", shape=f"({size},)"),
            ngettext(
                "The one product is {product}.",
                "Multiplied number by number; the sum of all {count} products is {product}.",
                size, **values,
            ),
            [Strip.of_numbers("q × k", cell.products)],
        ),
        StripStep(
            _("Scaled"),
            _("one number"),
            _scaled_in_words(cell),
        ),
        StripStep(
            _("Causal mask: no token attends to later ones") if masked else _("All scores of this query"),
            _("{shape}, a row of {whole}", shape=f"({length},)", whole=f"({length}, {length})"),
            _("Scores of masked tokens set to −∞: {count}.", count=masked) if masked else "",
            [scores],
        ),
        StripStep(
            _("Softmax: scores become weights that add up to 1"),
            f"({length},)",
            _("Divided by the sum over all tokens: {share}.", **values)
            if cell.hidden
            else _("{power}, divided by the sum over all tokens: {share}.", power=exponent, **values) + _sink(cell),
            [weights],
        ),
        StripStep(
            _("Values, each times its weight"), f"({length},) × ({length}, {size})", "",
            _weighted_values(cell, names, key),
        ),
        StripStep(
            _("Sum: the output of the head"),
            f"({size},)",
            gate + _("It is added to the residual stream of '{token}', with the outputs of the other heads.", **values),
            [Strip.of_numbers("z", cell.z, _largest_value(cell))],
        ),
    ]  # fmt: skip


def _sink(cell: AttentionWeight) -> str:
    unused = 1 - float(cell.row_weights.sum())
    return " " + _("The attention sink takes {share}.", share=percent(unused)) if unused > 1e-5 else ""


def _scaled_in_words(cell: AttentionWeight) -> str:
    product, scaled = decimal(cell.product), decimal(cell.product * cell.scale)
    if cell.scale == 1:
        words = _("This model does not scale: {score} is the score.", score=scaled)
    else:
        words = _("{product} ÷ √{count} ≈ {score}, the score.", product=product, count=len(cell.q), score=scaled)
    if not cell.distance_penalty:
        return words
    penalty, score = decimal(cell.distance_penalty), decimal(cell.score)
    return f"{words} {_('ALiBi subtracts {penalty} for the distance: {score}.', penalty=penalty, score=score)}"


def _vectors(name: str, cell: AttentionWeight) -> list[Strip]:
    projected, used = (cell.q_projected, cell.q) if name == "q" else (cell.k_projected, cell.k)
    most = max(np.abs(cell.q).max(), np.abs(cell.k).max())
    if not cell.steps:
        return [Strip.of_numbers(name, used, most)]
    before, after = (_(label, vector=name) for label in _DONE[cell.steps])
    return [Strip.of_numbers(before, projected), Strip.of_numbers(after, used, most)]


def _weighted_values(cell: AttentionWeight, names: list[str], key: int) -> list[Strip]:
    largest = np.argsort(-cell.row_weights, kind="stable")[: MAX_VALUES - 1].tolist()
    written = sorted({key, *largest})
    others = [i for i in range(len(names)) if i not in written and np.isfinite(cell.row_scores[i])]
    most = _largest_value(cell)
    labels = {i: f"{quoted(names[i])} {percent(float(cell.row_weights[i]))}" for i in written}
    strips = [Strip.of_numbers(labels[i], cell.weighted_values[i], most) for i in written]
    if others:
        label = ngettext("{count} other", "{count} others", len(others))
        strips.append(Strip.of_numbers(label, cell.weighted_values[others].sum(axis=0), most))
    return strips


def _largest_value(cell: AttentionWeight) -> float:
    return float(max(np.abs(cell.weighted_values).max(), np.abs(cell.z).max()))
