"""The tokenizer that belongs to somebody's model: beside it in its folder, or the characters of the text it read."""

from pathlib import Path

from core.atomic_io import parse_json
from core.errors import TextError
from core.import_export.external_weights import ExternalModelError
from core.text.tokenizers import BPETokenizer, CharTokenizer, Tokenizer

FILE = "tokenizer.json"


def read_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer in a model's folder: GPT-2's, or single characters as we write them. None where there is none.

    Raises TextError where it is damaged or of another kind.
    """
    try:
        characters = _characters((folder / FILE).read_bytes())
    except OSError:
        characters = None
    return characters or BPETokenizer.from_folder(folder)


def parse_tokenizer(text: str) -> Tokenizer:
    """Return the tokenizer that a `tokenizer.json` of ours says. Raises TextError where it is damaged."""
    try:
        return _characters(text) or BPETokenizer.parse({"tokenizer": parse_json(text)})
    except ValueError:
        raise TextError("The tokenizer of this model is damaged: it is not valid JSON.") from None


def tokenizer_files(tokenizer: Tokenizer) -> dict[str, bytes]:
    """Return `tokenizer.json`, which transformers reads too, and what tells it to take that as it is."""
    return {
        FILE: tokenizer.to_hugging_face().to_str(pretty=True).encode(),
        "tokenizer_config.json": b'{"tokenizer_class": "PreTrainedTokenizerFast"}',
    }


def check_belongs(tokenizer: Tokenizer, vocab_size: int) -> None:
    """Raises ExternalModelError where a tokenizer numbers more or fewer tokens than the model knows."""
    if tokenizer.vocab_size != vocab_size:
        raise ExternalModelError(
            f"The model knows {vocab_size:,} tokens, but the tokenizer has {tokenizer.vocab_size:,}, so they do not "
            "belong together."
        )


def _characters(text: str | bytes) -> CharTokenizer | None:
    try:
        model = parse_json(text)["model"]
        if model["type"] != "WordLevel":
            return None
        vocabulary = model["vocab"]
        tokens = sorted(vocabulary, key=vocabulary.get)
    except (ValueError, KeyError, TypeError):
        return None
    try:
        return CharTokenizer(tokens)
    except (ValueError, TypeError):
        raise TextError(f"The tokenizer in {FILE} is neither GPT-2's nor one of single characters.") from None
