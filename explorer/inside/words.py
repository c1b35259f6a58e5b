"""One sentence on what is seen right now, for the views that move."""

from collections.abc import Sequence

import numpy as np

from core.inspection.embeddings import cosines
from explorer.charts.words import percent


def heads_in_words(causal: bool) -> str:
    """How to read the squares; a model that is not causal sees what comes after a letter too."""
    hidden = "The upper right half is empty because the future is hidden. " if causal else ""
    return (
        f"In every layer several **heads** look {'back ' if causal else ''}side by side. In a square, a row is a "
        "letter that looks, a column a letter looked at, and a stronger shade means more of its attention. "
        f"{hidden}A diagonal line means *look at the letter just before*, a column means *everyone looks at this one*."
    )


def head_in_words(pattern: np.ndarray, causal: bool = True) -> str:
    """Where a head's looks (T, T) go, averaged over all letters that have a choice (the first has none)."""
    length = len(pattern)
    if length < 2:
        return "A single letter can only look at itself. Type more to see more."
    rows = np.arange(1, length)
    itself, before, first = pattern[rows, rows].mean(), pattern[rows, rows - 1].mean(), pattern[rows, 0].mean()
    distance = float((pattern[1:] * np.abs(rows[:, None] - np.arange(length)[None, :])).sum(axis=1).mean())
    return (
        f"Of its attention {percent(before)} goes to the letter before, {percent(itself)} to the letter itself and "
        f"{percent(first)} to the very first one. On average it looks {distance:.1f} letters "
        f"{'back' if causal else 'away'}."
    )


def next_in_words(guesses: Sequence[tuple[str, str, float]]) -> str:
    """How sure the model is of what comes next. guesses: (shown, kind, probability), best first."""
    (first, _, share), *others = guesses
    if share >= 0.5:
        return f"It is fairly sure of '{first}'."
    if share < 0.1:
        return f"It has hardly an idea: its best guess, '{first}', has {percent(share)}."
    return f"It leans to '{first}', but not strongly" + (f"; '{others[0][0]}' is its second guess." if others else ".")


def lens_in_words(answer: str, settled: int, layers: int) -> str:
    """Where the last letter's answer comes from. settled: the stage from which on it leads, 0 is before any block."""
    if not layers:
        return f"It says '{answer}' straight from its table."
    if not settled:
        return f"Its answer '{answer}' leads before any block has worked."
    return f"Its answer '{answer}' leads from block {settled} of {layers} on."


def heads_seen_in_words(patterns: np.ndarray) -> str:
    """What most heads do, and which does it most, from all patterns (L, H, T, T)."""
    layers, heads, length, _ = patterns.shape
    if length < 3:
        return "Type more to see how the heads differ."
    rows = np.arange(2, length)  # the second letter's first and last are one
    shares = {
        "the letter just before": patterns[:, :, rows, rows - 1].mean(axis=-1),
        "the letter itself": patterns[:, :, rows, rows].mean(axis=-1),
        "the very first letter": patterns[:, :, rows, 0].mean(axis=-1),
    }
    where, most = max(shares.items(), key=lambda entry: entry[1].max())  # (L, H)
    layer, head = np.unravel_index(int(most.argmax()), most.shape)
    half = sum(int((share >= 0.5).sum()) for share in shares.values())
    return (
        f"The clearest is head {layer + 1}.{head + 1}: {percent(float(most.max()))} of its attention goes to {where}. "
        f"{half or 'None'} of {layers * heads} {'gives' if half <= 1 else 'give'} more than half to one such place."
    )


def answers_in_words(settled: np.ndarray, layers: int) -> str:
    """How many answers stand early. settled (P,): the stage from which on each place's answer leads."""
    if not layers:
        return "There is only one stage: its table."
    early = int((settled < layers).sum())
    return (
        f"Of these {len(settled)} answers {early} stood before the last block; the ring marks where each first leads."
    )


def alike_in_words(vectors: np.ndarray, shown: Sequence[str], pairs: int = 2) -> str:
    """Which letters are nearest to each other right now, by the cosine of their vectors (V, C)."""
    alike = np.triu(cosines(vectors), 1)
    places = np.argsort(-alike, axis=None, kind="stable")[:pairs]
    told = [
        f"'{shown[one]}' and '{shown[other]}' ({alike[one, other]:.2f})"
        for one, other in zip(*np.unravel_index(places, alike.shape), strict=True)
    ]
    return f"Most alike right now, by cosine: {', then '.join(told)}."


def map_in_words(points: np.ndarray, last: np.ndarray, vectors: np.ndarray, shown: Sequence[str]) -> str:
    """Who is nearest to whom, and how far the cloud of letters (V, 2) has unfolded, by its average radius."""
    size, full = (float(np.linalg.norm(each - each.mean(axis=0), axis=1).mean()) for each in (points, last))
    nearest = alike_in_words(vectors, shown)
    if full == 0 or np.array_equal(points, last):
        return nearest
    return f"{nearest} The cloud is {percent(size / full)} as wide as on the newest map."
