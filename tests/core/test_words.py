"""Numbers as people read them."""

import pytest

from core.words import memory_in_words


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 KB"),
        (12 * 2**10, "12 KB"),
        (2**20 - 1, "1 MB"),
        (410 * 2**20, "410 MB"),
        (2**30, "1.0 GB"),
        (int(1.5 * 2**30), "1.5 GB"),
        (10**9, "954 MB"),  # not a GB: those are binary everywhere
        (23 * 2**30, "23 GB"),
        (2000 * 2**40, "2,000 TB"),
    ],
)
def test_memory_is_told_in_the_unit_that_suits_it(size, words):
    assert memory_in_words(size) == words
