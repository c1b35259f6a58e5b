import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.interpretability.memorization import Matches, copied_lengths, copied_spans, longest_matches

TEXTS = st.text(alphabet="abc", max_size=30)


def ids(text):
    return [ord(character) for character in text]


@given(written=TEXTS, source=TEXTS)
def test_longest_matches_agree_with_string_search(written, source):
    matches = longest_matches(ids(written), ids(source))
    for start in range(len(written)):
        length = max(n for n in range(len(written) - start + 1) if written[start : start + n] in source)
        assert matches.lengths[start] == length
        assert matches.places[start] == (source.find(written[start : start + length]) if length else -1)


@given(written=TEXTS, source=TEXTS, shortest=st.integers(1, 5))
def test_copied_spans_are_maximal_and_cover_every_copied_token(written, source, shortest):
    matches = longest_matches(ids(written), ids(source))
    spans, covered = copied_spans(matches, shortest), copied_lengths(matches, shortest)
    found = []
    for start in range(len(written)):
        for end in range(start + shortest, len(written) + 1):
            inside = written[start:end] in source
            longer = (start > 0 and written[start - 1 : end] in source) or (
                end < len(written) and written[start : end + 1] in source
            )
            if inside and not longer:
                found.append((start, end - start))
    assert [(start, length) for start, length, _ in spans] == found
    for start, length, place in spans:
        assert source[place : place + length] == written[start : start + length]
    expected = [max((n for s, n in found if s <= i < s + n), default=0) for i in range(len(written))]
    assert covered.tolist() == expected


def test_a_passage_of_the_source_is_one_copied_span():
    source = np.random.default_rng(0).integers(200, size=20_000)
    matches = longest_matches(source[7000:9000], source)
    assert matches.lengths[0] == 2000 and matches.places[0] == 7000
    assert copied_spans(matches, 50) == [(0, 2000, 7000)]


def test_tokens_missing_from_the_source_have_no_match():
    matches = longest_matches([5, 900, 5, 6], [5, 6, 7, 10**5])
    assert matches.lengths.tolist() == [1, 0, 2, 1] and matches.places.tolist() == [0, -1, 0, 1]
    assert copied_lengths(matches, 2).tolist() == [0, 0, 2, 2]


@pytest.mark.parametrize(("written", "source"), [([], [1, 2]), ([1, 2], []), ([], [])])
def test_empty_texts_have_no_matches(written, source):
    matches = longest_matches(written, source)
    assert isinstance(matches, Matches) and matches.lengths.tolist() == [0] * len(written)
    assert copied_spans(matches, 1) == []
