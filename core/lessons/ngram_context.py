"""What counting alone can do with a longer memory, and where it ends."""

import math
from collections import Counter
from collections.abc import Iterator

from core.interpretability import Progress


def memory_loss(learned: str, read: str, letters: int, vocab_size: int) -> float:
    """How surprised a table is by a text, in nats a character, if it remembers what followed every few letters.

    The table has noted, for each stretch of `letters` characters in the text it learned, what came next. To each it
    adds one sighting that nobody made, shared among the whole alphabet, so that nothing is impossible: a stretch that
    it has never seen leaves it guessing at random.

    Args:
        learned: the text that the table was counted in.
        read: the text it is measured on.
    """
    stretches = Counter(learned[i : i + letters] for i in range(len(learned) - letters))
    continued = Counter(learned[i : i + letters + 1] for i in range(len(learned) - letters))
    cross_entropy_steps = 0.0
    for i in range(letters, len(read)):
        seen = stretches[read[i - letters : i]]
        right = continued[read[i - letters : i + 1]]
        probability = (right + 1 / vocab_size) / (seen + 1)
        cross_entropy_steps -= math.log(probability)
    return cross_entropy_steps / (len(read) - letters)


def memory_losses(
    train: str, val: str, vocab_size: int, longest: int
) -> Iterator[Progress[list[tuple[float, float]]]]:  # fmt: skip
    """`memory_loss` on the text that was counted, and on the one kept aside, for every memory from 0 to `longest`."""
    found = []
    for letters in range(longest + 1):
        on_train = memory_loss(train, train[: len(val)], letters, vocab_size)
        on_val = memory_loss(train, val, letters, vocab_size)
        found.append((on_train, on_val))
        yield Progress(letters + 1, longest + 1, found)


def what_follows(text: str, context: str) -> Counter[str]:
    """How often each character comes right after `context` in the text."""
    found: Counter[str] = Counter()
    place = text.find(context)
    while 0 <= place < len(text) - len(context):
        found[text[place + len(context)]] += 1
        place = text.find(context, place + 1)
    return found


def rows_needed(vocab_size: int, letters: int) -> int:
    """How many rows a table has that looks at so many letters: one for every stretch that there could be."""
    return vocab_size**letters
