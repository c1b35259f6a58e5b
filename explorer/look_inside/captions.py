"""One sentence on what is seen right now, for the views that move."""

from collections.abc import Sequence
from functools import reduce

import numpy as np

from core.formatting import decimal
from core.interpretability.embeddings import cosines
from explorer.charts.text_format import percent
from explorer.i18n.language import N_, _


def heads_in_words(causal: bool) -> str:
    """How to read the squares; a model that is not causal sees what comes after a letter too."""
    if causal:
        return _(
            "In every layer several **heads** look back side by side. In a square, a row is a letter that looks, a "
            "column a letter looked at, and a stronger shade means more of its attention. The upper right half is "
            "empty because the future is hidden. A diagonal line means *look at the letter just before*, a column "
            "means *everyone looks at this one*."
        )
    return _(
        "In every layer several **heads** look side by side. In a square, a row is a letter that looks, a column a "
        "letter looked at, and a stronger shade means more of its attention. A diagonal line means *look at the letter "
        "just before*, a column means *everyone looks at this one*."
    )


def looks_title(layer: int, head: int, causal: bool) -> str:
    """What the picture of one head, layer and head counted from 0, answers."""
    place = f"{layer + 1}.{head + 1}"
    if causal:
        return _("Head {place}: which earlier letters does each letter look at?", place=place)
    return _("Head {place}: which letters does each letter look at?", place=place)


def head_in_words(pattern: np.ndarray, causal: bool = True) -> str:
    """Where a head's looks (T, T) go, averaged over all letters that have a choice (the first has none)."""
    length = len(pattern)
    if length < 2:
        return _("A single letter can only look at itself. Type more to see more.")
    rows = np.arange(1, length)
    itself, before, first = pattern[rows, rows].mean(), pattern[rows, rows - 1].mean(), pattern[rows, 0].mean()
    distance = float((pattern[1:] * np.abs(rows[:, None] - np.arange(length)[None, :])).sum(axis=1).mean())
    told = {
        "before": percent(before),
        "itself": percent(itself),
        "first": percent(first),
        "distance": f"{distance:.1f}",
    }
    if causal:
        return _(
            "Of its attention {before} goes to the letter before, {itself} to the letter itself and {first} to the "
            "very first one. On average it looks {distance} letters back.",
            **told,
        )
    return _(
        "Of its attention {before} goes to the letter before, {itself} to the letter itself and {first} to the very "
        "first one. On average it looks {distance} letters away.",
        **told,
    )


def next_in_words(guesses: Sequence[tuple[str, str, float]]) -> str:
    """How sure the model is of what comes next. guesses: (shown, kind, probability), best first."""
    (first, _unused, share), *others = guesses
    if share >= 0.5:
        return _("It is fairly sure of '{letter}'.", letter=first)
    if share < 0.1:
        return _("It has hardly an idea: its best guess, '{letter}', has {share}.", letter=first, share=percent(share))
    if not others:
        return _("It leans to '{letter}', but not strongly.", letter=first)
    return _(
        "It leans to '{letter}', but not strongly; '{second}' is its second guess.", letter=first, second=others[0][0]
    )


def lens_in_words(answer: str, settled: int, layers: int) -> str:
    """Where the last letter's answer comes from. settled: the stage from which on it leads, 0 is before any block."""
    if not layers:
        return _("It says '{answer}' straight from its table.", answer=answer)
    if not settled:
        return _("Its answer '{answer}' leads before any block has worked.", answer=answer)
    return _(
        "Its answer '{answer}' leads from block {block} of {count} on.", answer=answer, block=settled, count=layers
    )


def heads_seen_in_words(patterns: np.ndarray) -> str:
    """What most heads do, and which does it most, from all patterns (L, H, T, T)."""
    layers, heads, length, _unused = patterns.shape
    if length < 3:
        return _("Type more to see how the heads differ.")
    rows = np.arange(2, length)  # the second letter's first and last are one
    shares = {
        N_("the letter just before"): patterns[:, :, rows, rows - 1].mean(axis=-1),
        N_("the letter itself"): patterns[:, :, rows, rows].mean(axis=-1),
        N_("the very first letter"): patterns[:, :, rows, 0].mean(axis=-1),
    }
    where, most = max(shares.items(), key=lambda entry: entry[1].max())  # (L, H)
    layer, head = np.unravel_index(int(most.argmax()), most.shape)
    half = sum(int((share >= 0.5).sum()) for share in shares.values())
    clearest = _(
        "The clearest is head {place}: {share} of its attention goes to {where}.",
        place=f"{layer + 1}.{head + 1}", share=percent(float(most.max())), where=_(where),
    )  # fmt: skip
    if not half:
        return f"{clearest} {_('None of {count} gives more than half to one such place.', count=layers * heads)}"
    if half == 1:
        return f"{clearest} {_('1 of {count} gives more than half to one such place.', count=layers * heads)}"
    many = _("{some} of {count} give more than half to one such place.", some=half, count=layers * heads)
    return f"{clearest} {many}"


def answers_in_words(settled: np.ndarray, layers: int) -> str:
    """How many answers stand early. settled (P,): the stage from which on each place's answer leads."""
    if not layers:
        return _("There is only one stage: its table.")
    early = int((settled < layers).sum())
    return _(
        "Of these {count} answers {early} stood before the last block; the ring marks where each first leads.",
        count=len(settled), early=early,
    )  # fmt: skip


def alike_in_words(vectors: np.ndarray, shown: Sequence[str], pairs: int = 2) -> str:
    """Which letters are nearest to each other right now, by the cosine of their vectors (V, C)."""
    alike = np.triu(cosines(vectors), 1)
    places = np.argsort(-alike, axis=None, kind="stable")[:pairs]
    told = [
        _(
            "'{one}' and '{other}' ({cosine})",
            one=shown[one],
            other=shown[other],
            cosine=decimal(float(alike[one, other])),
        )
        for one, other in zip(*np.unravel_index(places, alike.shape), strict=True)
    ]
    in_order = reduce(lambda before, pair: _("{before}, then {pair}", before=before, pair=pair), told)
    return _("Most alike right now, by cosine: {pairs}.", pairs=in_order)


def map_in_words(points: np.ndarray, last: np.ndarray, vectors: np.ndarray, shown: Sequence[str]) -> str:
    """Who is nearest to whom, and how far the cloud of letters (V, 2) has unfolded, by its average radius."""
    size, full = (float(np.linalg.norm(each - each.mean(axis=0), axis=1).mean()) for each in (points, last))
    nearest = alike_in_words(vectors, shown)
    if full == 0 or np.array_equal(points, last):
        return nearest
    return f"{nearest} {_('The cloud is {share} as wide as on the newest map.', share=percent(size / full))}"
