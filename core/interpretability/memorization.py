"""Memorization: the spans of a generated text that occur word for word in the training text."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from numpy.typing import ArrayLike


class Span(NamedTuple):
    """A span of the generated text that occurs in the source and is not part of a longer one."""

    start: int  # its first token in the generated text
    length: int  # in tokens
    place: int  # its first token in the source


class Matches(NamedTuple):
    """For each of T generated tokens, the longest span starting there that occurs in the source."""

    lengths: Int64[np.ndarray, "T"]  # 0 if the token does not occur
    places: Int64[np.ndarray, "T"]  # start of the span in the source; -1 if there is none


def longest_matches(written: ArrayLike, source: ArrayLike) -> Matches:
    """Return the longest exact match in `source` (N,) from every token of `written` (T,), up to a few thousand.

    All positions of the source are extended in parallel, token by token, and dropped if no span continues like the
    source. Each of the first few tokens costs a pass over the source; then few positions are left. So five million
    characters take about a second, and memory is a few times the source.
    """
    written, source = np.asarray(written, dtype=np.int64), np.asarray(source, dtype=np.int64)
    T, N = len(written), len(source)
    lengths, starts_at = np.zeros(T, dtype=np.int64), np.full(T, -1, dtype=np.int64)
    if not T or not N:
        return Matches(lengths, starts_at)
    # Tokens that occur in the written text are renumbered from 1; 0 is any other one.
    alphabet, letters = np.unique(written, return_inverse=True)
    renumber = np.zeros(max(int(source.max()), int(alphabet[-1])) + 1, dtype=np.int32)
    renumber[alphabet] = np.arange(1, len(alphabet) + 1)
    letters, source = letters + 1, renumber[source]

    starts = np.arange(T)  # of stretches that may still grow
    groups, group_count = np.zeros(T, dtype=np.int64), 1  # equal stretches are one group; at length 0 all are
    width = len(alphabet) + 1
    places, group_of_place = np.arange(N, dtype=np.int32), np.zeros(N, dtype=np.int32)
    for length in range(T):
        fits = starts + length < T
        starts, groups = starts[fits], groups[fits]
        # Groups split by their next token. The table maps a place to its next group, or -1.
        keys, new_groups = np.unique(groups * width + letters[starts + length], return_inverse=True)
        table = np.full(group_count * width, -1, dtype=np.int32)
        table[keys], group_count = np.arange(len(keys)), len(keys)
        inside = np.searchsorted(places, N - length)  # places before it have a next token
        places, group_of_place = places[:inside], group_of_place[:inside]
        group_of_place = table[group_of_place * width + source[places + length]]
        goes_on = group_of_place >= 0
        places, group_of_place = places[goes_on], group_of_place[goes_on]
        if not len(places):
            break
        first = np.full(len(keys), -1, dtype=np.int64)
        first[group_of_place[::-1]] = places[::-1]  # the earliest place of each group is written last
        alive = first[new_groups] >= 0
        starts, groups = starts[alive], new_groups[alive]
        lengths[starts], starts_at[starts] = length + 1, first[groups]
    return Matches(lengths, starts_at)


def copied_spans(matches: Matches, shortest: int) -> list[Span]:
    """Return the spans of at least `shortest` tokens, in order; they may overlap, but none lies within another."""
    spans: list[Span] = []
    reached = 0
    for start, (length, place) in enumerate(zip(*matches, strict=True)):
        if length >= shortest and start + length > reached:
            spans.append(Span(start, int(length), int(place)))
            reached = start + int(length)
    return spans


def copied_lengths(matches: Matches, shortest: int) -> Int64[np.ndarray, "T"]:
    """Return the length of the longest span that covers each token, or 0."""
    covered = np.zeros(len(matches.lengths), dtype=np.int64)
    for start, length, _ in copied_spans(matches, shortest):
        covered[start : start + length] = np.maximum(covered[start : start + length], length)
    return covered
