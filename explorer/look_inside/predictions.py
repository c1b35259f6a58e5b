"""What comes next, how well was the prompt predicted, and which component contributed what?"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
import streamlit as st

from core.formatting import decimal
from core.interpretability.attribution import Attribution, attribute
from core.interpretability.token_losses import token_predictions
from core.model import GPT
from core.text.token_display import quoted, visible
from core.text.tokenizers import token_texts
from explorer.charts.bars import attribution_bars, strongest
from explorer.charts.text_format import percent
from explorer.components.text import token_text
from explorer.i18n.formatting import named
from explorer.i18n.language import N_, _
from explorer.look_inside.inspection import MAX_OFFERED, Inspection, choose_token, likely_next, names_of, select
from explorer.look_inside.time_machine_views import LENS, NEXT, draw_view
from explorer.services.shared import result_for
from explorer.streaming.generation import passage_tokens
from explorer.widgets.layout import card, chart, current_palette, errors_shown, sentence

TOKEN, BASELINE = "attributed_token", "attribution_baseline"
_ZERO, _MEAN = -1, -2  # among the baselines, besides tokens
_ATTRIBUTION = N_(
    "A logit is a sum with a term for each component (Elhage 2021): orange raises it, blue lowers it. Effects "
    "through later components do not count."
)


def draw(inspection: Inspection) -> None:
    """Draw the next token's probabilities, those of the prompt's tokens, the logit lens, and the attribution."""
    left, right = st.columns([4, 5])
    with left:
        draw_view(NEXT, inspection.time_machine)
    with right:
        _prompt_card(inspection)
    if isinstance(inspection.model, GPT):  # a bigram has one part, its table
        draw_view(LENS, inspection.time_machine)
        _attribution_card(inspection)


def _prompt_card(inspection: Inspection) -> None:
    prompt = inspection.prompt
    note = _("How well was each token of the prompt predicted from the tokens before it? Darker: more probable.")
    with card(_("Probability of your prompt"), note, key="card_prompt_probabilities"):
        if len(prompt.ids) < 2:
            st.caption(_("Type at least two tokens."))
            return
        words = partial(prompt_in_words, shown=prompt.shown[1:])
        draw_predicted(inspection, prompt.ids, prompt.text, words, key="prompt_probabilities")


def draw_predicted(
    inspection: Inspection, ids: list[int], go: object, words: Callable[[list[float]], str], *, key: str
) -> None:
    """Draw tokens with their probabilities, below what `words` says about these; `go` identifies the text."""
    model, tokenizer = inspection.model, inspection.tokenizer
    predicted = result_for(model, ("predictions", *ids), lambda: token_predictions(model, ids))
    tokens = passage_tokens(ids, predicted, tokenizer)
    st.caption(sentence(words([token["p"] for token in tokens])))
    token_text(prompt=token_texts(tokenizer, ids)[0], go=f"{inspection.key} {go}", tokens=tokens, key=key)


def prompt_in_words(probabilities: list[float], shown: list[str]) -> str:
    """Return how many tokens had more than half of the probability, and which had the least."""
    worst = int(np.argmin(probabilities))
    return _(
        "Tokens with a probability above 50%: {right} of {count}. Lowest: '{token}' with {share}.",
        right=sum(p >= 0.5 for p in probabilities), count=len(shown), token=shown[worst],
        share=percent(probabilities[worst]),
    )  # fmt: skip


def _attribution_card(inspection: Inspection) -> None:
    note = _("Which components raise or lower the logit of a next token?")
    with card(_("Direct logit attribution"), note, more=_(_ATTRIBUTION), key="card_attribution"), errors_shown():
        model, ids = inspection.model, inspection.prompt.ids
        offered = likely_next(model, ids)
        left, right = st.columns(2)
        with left:
            token = choose_token(_("Next token"), TOKEN, offered, inspection, default=offered[0], prompt=ids)
        with right:
            baseline = _choose_baseline(inspection, offered, token)
        key = ("attribution", token, baseline, *ids)
        attribution = result_for(model, key, lambda: attribute(model, ids, token, baseline))
        st.caption(sentence(attribution_in_words(attribution, inspection.tokenizer.tokens, baseline)))
        shares = attribution.shares()
        # Leave out the parts that this model lacks: they add exactly 0.
        drawn = [(named(part), share) for part, share in shares if share or part.startswith(("head", "MLP"))]
        columns = dict(zip(("part", "share"), zip(*shares, strict=True), strict=True))
        figure = attribution_bars(strongest(drawn), current_palette())
        chart(figure, key="attribution", name="logit-attribution", numbers=lambda: columns)


def attribution_in_words(attribution: Attribution, tokens: list[str], baseline: int | str) -> str:
    """Return the sum, and the components that raise and lower it most."""
    shares = sorted(attribution.shares(), key=lambda row: row[1])
    (lowest, least), (highest, most) = shares[0], shares[-1]
    token = quoted(visible(tokens[attribution.token]))
    values = {"token": token, "score": decimal(attribution.total, plus=True)}
    if baseline == "zero":
        total = _("Logit of {token}: {score}.", **values)
    elif baseline == "mean":
        total = _("Logit of {token} above the mean over all tokens: {score}.", **values)
    else:
        total = _("Logit of {token} minus that of {other}: {score}.", other=quoted(visible(tokens[baseline])), **values)
    most, least = decimal(most, plus=True) if most > 0 else "", decimal(least, plus=True) if least < 0 else ""
    raises = _("Raised most by {part} ({share}).", part=named(highest), share=most) if most else ""
    lowers = _("Lowered most by {part} ({share}).", part=named(lowest), share=least) if least else ""
    return " ".join(filter(None, (total, raises, lowers)))


def _choose_baseline(inspection: Inspection, offered: list[int], token: int) -> int | Literal["zero", "mean"]:
    token_names = names_of(inspection.tokenizer, offered)
    names = {_ZERO: _("nothing (the logit)"), _MEAN: _("the mean over all tokens")}
    baseline = select(
        _("Compared with"), [_ZERO, _MEAN, *offered[: MAX_OFFERED - 2]], key=BASELINE, default=_ZERO,
        format_func=lambda id: names.get(id) or token_names[id],
    )  # fmt: skip
    if baseline == token:
        return "zero"
    return {_ZERO: "zero", _MEAN: "mean"}.get(baseline, baseline)
