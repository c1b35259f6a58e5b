"""Tokens as they are written, in the form in which a browser draws them."""

from collections.abc import Iterator, Sequence

from core.interpretability.token_losses import TokenPredictions
from core.model import GPT, Bigram
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.text.token_display import visible
from core.text.tokenizers import IncrementalDecoder, Tokenizer, opening_ids, token_texts
from explorer.components.text import WrittenToken
from explorer.services import shared


def written_tokens(
    model: GPT | Bigram, tokenizer: Tokenizer, prompt: str, settings: GenerationConfig
) -> Iterator[WrittenToken]:
    """Continue a prompt token by token; an empty one begins like a new line.

    A token that ends within a character waits for the next one, and its text is "": the character is the text of the
    token that completes it.

    Raises UnknownCharacterError for a character that the model has never seen.
    """
    shown = [visible(token) for token in tokenizer.tokens]
    ids = tokenizer.encode(prompt) or opening_ids(tokenizer)
    decoder, waiting = IncrementalDecoder(tokenizer), None
    for token in generate(model, ids, settings, spread=not shared.supervisor().busy):
        if waiting:
            yield waiting
        written: WrittenToken = {
            "text": decoder.add(token.id),
            "visible": shown[token.id],
            "p": round(token.probability, 5),
            "alternatives": [(shown[id], round(probability, 5)) for id, probability in token.alternatives],
        }
        waiting = written if decoder.pending else None
        if not waiting:
            yield written
    if waiting:
        yield waiting | {"text": waiting["text"] + decoder.finish()}


def foreseen_tokens(ids: Sequence[int], found: TokenPredictions, tokenizer: Tokenizer) -> list[WrittenToken]:
    """Every token of a passage (T,) but the first, with the probability it had before it was read."""
    tokens = tokenizer.tokens
    return [
        {
            "text": text,
            "visible": visible(tokens[id]),
            "p": round(float(p), 5),
            "alternatives": [
                (visible(tokens[other]), round(float(share), 5)) for other, share in zip(others, shares, strict=True)
            ],
        }
        for id, text, p, others, shares in zip(ids[1:], token_texts(tokenizer, ids)[1:], *found, strict=True)
    ]
