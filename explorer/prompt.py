"""A prompt as a model can read it, and a sentence for whatever it cannot."""

from typing import NamedTuple

from core.text.display import kind_of, visible
from core.text.tokenizer import Tokenizer

NEWLINE_SIGN = "⏎"  # one line of input can ask for a new line with it


class Prompt(NamedTuple):
    """What of a typed text reaches the model. `text` is made of `tokens`, which are `ids`."""

    text: str
    ids: list[int]
    tokens: list[str]  # as they are
    shown: list[str]  # as they are shown
    kinds: list[str]
    notes: list[str]  # sentences, for the person who typed


def read_prompt(typed: str, tokenizer: Tokenizer, limit: int | None = None) -> Prompt:
    """Keep the characters that the model knows, and the last `limit` of them; say what was left out and why."""
    text = typed if NEWLINE_SIGN in tokenizer.tokens else typed.replace(NEWLINE_SIGN, "\n")
    known = set(tokenizer.tokens)
    unseen = list(dict.fromkeys(character for character in text if character not in known))
    kept = "".join(character for character in text if character in known)
    notes = []
    if unseen:
        named = ", ".join(f"{visible(character)} (U+{ord(character):04X})" for character in unseen[:8])
        several = len(unseen) > 1
        notes.append(
            f"The text this model learned from has no {named}{' and others' if len(unseen) > 8 else ''}, so the model "
            f"has no number for {'them' if several else 'it'}. Your prompt stays as you typed it; the model reads it "
            f"without {'them' if several else 'it'}."
        )
    if limit is not None and len(kept) > limit:
        notes.append(
            f"Your prompt has {len(kept):,} letters, and at most {limit:,} can be looked at here at once: "
            f"you see the last {limit:,}."
        )
        kept = kept[-limit:]
    return Prompt(
        text=kept,
        ids=tokenizer.encode(kept),
        tokens=list(kept),
        shown=[visible(token) for token in kept],
        kinds=[kind_of(token) for token in kept],
        notes=notes,
    )


def example_prompt(tokenizer: Tokenizer, sentence: list[str]) -> str:
    """A prompt to begin with: Romeo's, where the model knows its letters, else the run's own probe sentence."""
    romeo = "ROMEO:\nBut soft, what light"
    text = romeo if set(romeo) <= set(tokenizer.tokens) else "".join(sentence)
    return text if NEWLINE_SIGN in tokenizer.tokens else text.replace("\n", NEWLINE_SIGN)
