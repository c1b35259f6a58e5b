"""The first steps of the lecture: a text, its alphabet, and its characters as numbers and back."""

from collections import Counter
from collections.abc import Mapping, Sequence


def alphabet(text: str) -> list[str]:
    """Every different character of the text, in the order of their code points."""
    return sorted(set(text))


def most_frequent(text: str) -> list[tuple[str, int]]:
    """Every character with how often it stands in the text, most frequent first."""
    return Counter(text).most_common()


def numbers_of(characters: Sequence[str]) -> dict[str, int]:
    """Each character's number: its place in the alphabet, counted from 0."""
    return {character: number for number, character in enumerate(characters)}


def encode(text: str, number_of: Mapping[str, int]) -> list[int]:
    """A text as numbers; a character that has no number is left out."""
    return [number_of[character] for character in text if character in number_of]


def decode(numbers: Sequence[int], characters: Sequence[str]) -> str:
    """Numbers as text again."""
    return "".join(characters[number] for number in numbers)
