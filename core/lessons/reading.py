"""The first steps of the lecture: a text, its alphabet, and its characters as numbers."""

from collections import Counter


def alphabet(text: str) -> list[str]:
    """Every different character of the text, in the order of their code points."""
    return sorted(set(text))


def most_frequent(text: str) -> list[tuple[str, int]]:
    """Every character with how often it stands in the text, most frequent first."""
    return Counter(text).most_common()
