"""Tokens as they are written, in the form in which a browser draws them."""

from collections.abc import Iterator, Sequence
from typing import TypedDict

from core.generation import generate
from core.generation_config import GenerationConfig
from core.inspection.losses import Foresight
from core.model import GPT, Bigram
from core.text.display import visible
from core.text.tokenizer import Tokenizer
from explorer import service


class WrittenToken(TypedDict):
    """One token as `assets/js/token_text.js` draws it, and as the route `api/runs/{id}/generate` sends it."""

    text: str
    visible: str
    p: float  # what the model gave it, before temperature and cuts
    alternatives: list[tuple[str, float]]  # the likeliest tokens as shown, best first


def written_tokens(
    model: GPT | Bigram, tokenizer: Tokenizer, prompt: str, settings: GenerationConfig
) -> Iterator[WrittenToken]:
    """Continue a prompt token by token; an empty one begins like a new line.

    Raises UnknownCharacterError for a character that the model has never seen.
    """
    shown = [visible(token) for token in tokenizer.tokens]
    ids = tokenizer.encode(prompt) or [tokenizer.tokens.index("\n") if "\n" in tokenizer.tokens else 0]
    for token in generate(model, ids, settings, spread=not service.supervisor().busy):
        yield {
            "text": tokenizer.tokens[token.id],
            "visible": shown[token.id],
            "p": round(token.probability, 5),
            "alternatives": [(shown[id], round(probability, 5)) for id, probability in token.alternatives],
        }


def foreseen_tokens(ids: Sequence[int], found: Foresight, tokenizer: Tokenizer) -> list[WrittenToken]:
    """Tokens that were read, not written: T ids, with the probability each had before."""
    tokens = tokenizer.tokens
    return [
        {
            "text": tokens[id],
            "visible": visible(tokens[id]),
            "p": round(float(p), 5),
            "alternatives": [
                (visible(tokens[other]), round(float(share), 5)) for other, share in zip(others, shares, strict=True)
            ],
        }
        for id, p, others, shares in zip(ids, *found, strict=True)
    ]
