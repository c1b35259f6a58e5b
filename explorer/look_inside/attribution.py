"""Who said that?"""

from typing import Literal

import streamlit as st

from core.interpretability.activations import PartError
from core.interpretability.attribution import Attribution, attribute
from core.interpretability.residual_stream import next_token_logits
from core.model import GPT
from core.text.token_display import quoted, visible
from explorer.charts.attribution import attribution_bars, signed, strongest
from explorer.i18n.language import N_, _
from explorer.i18n.part_names import named
from explorer.i18n.units import worded
from explorer.look_inside.token_picker import MOST_OFFERED, choose_token, likeliest, names_of
from explorer.look_inside.view import Inspection, select
from explorer.services.results_cache import kept
from explorer.widgets.layout import card, chart, current_palette, literal, sentence

TOKEN, RIVAL = "said_token", "said_rival"
_NOBODY, _AVERAGE = -1, -2  # among the rivals, beside tokens
_MORE = N_(
    "All parts of the model add to one long list of numbers, the residual stream, and the last layer reads the score "
    "(**logit**) of each letter off that list. So the score is a sum, and each part's share in it can be told: what "
    "speaks for the letter is orange, what speaks against it blue, and the black bar is all of them together. Against "
    "a rival, it is the lead over that rival that is shared out: *why this letter rather than that one?* Only what a "
    "part writes itself counts, not how it helps others (Elhage 2021, *logit attribution*)."
)


def draw(inspection: Inspection) -> None:
    """The shares of all parts in one next token's logit. A bigram has only one part, its table."""
    if not isinstance(inspection.model, GPT):
        return
    with card(_("Who said that?"), more=_(_MORE), key="card_said"):
        model, ids = inspection.model, inspection.prompt.ids
        offered = kept(model, ("next", *ids), lambda: likeliest(next_token_logits(model, ids)))
        left, right = st.columns(2)
        with left:
            token = choose_token(
                _("The next letter"), TOKEN, offered, inspection.tokenizer, default=offered[0], prompt=ids
            )
        with right:
            against = _choose_rival(inspection, offered, token)
        try:
            found = kept(model, ("said", token, against, *ids), lambda: attribute(model, ids, token, against))
        except PartError as error:
            st.info(literal(str(error)))
            return
        said = attribution_in_words(found, inspection, against)
        st.caption(sentence(said))
        shares = found.shares()
        felt = [(named(words), share) for words, share in _felt(shares)]
        chart(
            attribution_bars(strongest(felt), current_palette()),
            key="said",
            numbers=lambda: {
                "part": [words for words, _unused in shares],
                "share": [share for _unused, share in shares],
            },
            name="who-said-that",
        )


def attribution_in_words(found: Attribution, inspection: Inspection, against: int | str) -> str:
    """The sum and who had most to do with it."""
    shown = inspection.tokenizer.tokens
    shares = sorted(found.shares(), key=lambda row: row[1])
    (lowest, least), (highest, most) = shares[0], shares[-1]
    token = quoted(visible(shown[found.token]))
    told = {"token": token, "score": signed(found.total)}
    if against == "zero":
        what = _("All parts together give {token} a score of {score}", **told)
    elif against == "mean":
        what = _("All parts together lift {token} by {score} over the average letter", **told)
    else:
        rival = quoted(visible(shown[int(against)]))
        what = _("All parts together give {token} a lead of {score} over {rival}", rival=rival, **told)
    spoke = (
        _("most for it speaks {name} ({share})", name=named(highest), share=signed(most))
        if most > 0
        else _("nothing speaks for it")
    )
    objected = (
        _("most against it {name} ({share})", name=named(lowest), share=signed(least))
        if least < 0
        else _("nothing against it")
    )
    return f"{what}; {spoke}, {objected}."


def _felt(shares: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Without the parts that this model does not have, which say exactly nothing."""
    return [(words, share) for words, share in shares if share or words.startswith(("head", "MLP"))]


def _choose_rival(inspection: Inspection, offered: list[int], token: int) -> int | Literal["zero", "mean"]:
    """The same choices whatever the token is, so that none is lost when it changes; nobody is his own rival."""
    choices = [_NOBODY, _AVERAGE, *offered[: MOST_OFFERED - 2]]
    own = {_NOBODY: _("nothing (the score itself)"), _AVERAGE: worded(_("the average letter"))}
    named = names_of(inspection.tokenizer, offered)
    rival = select(
        _("Compared with"), choices, key=RIVAL, default=_NOBODY,
        format_func=lambda id: own.get(id) or named[id],
    )  # fmt: skip
    if rival == token:
        return "zero"
    return {_NOBODY: "zero", _AVERAGE: "mean"}.get(rival, rival)
