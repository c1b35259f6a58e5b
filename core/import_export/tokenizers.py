"""The tokenizer of an external model."""

from pathlib import Path

from core.atomic_io import parse_json
from core.errors import TextError
from core.import_export.external_weights import ExternalModelError
from core.text.tokenizers import BPETokenizer, CharTokenizer, Tokenizer

FILE = "tokenizer.json"


def read_tokenizer(folder: Path) -> Tokenizer | None:
    """Return the tokenizer in a model's folder, or None; raises TextError where it is damaged or of an unknown kind."""
    try:
        characters = _characters((folder / FILE).read_bytes())
    except OSError:
        characters = None
    return characters or BPETokenizer.from_folder(folder)


def parse_tokenizer(text: str) -> Tokenizer:
    """Return the tokenizer of a `tokenizer.json` of ours. Raises TextError where it is damaged."""
    try:
        return _characters(text) or BPETokenizer.parse({"tokenizer": parse_json(text)})
    except ValueError:
        raise TextError("The tokenizer of this model is damaged: it is not valid JSON.") from None


def tokenizer_files(tokenizer: Tokenizer) -> dict[str, bytes]:
    """Return `tokenizer.json` and the configuration with which transformers uses it unchanged."""
    return {
        FILE: tokenizer.to_hugging_face().to_str(pretty=True).encode(),
        "tokenizer_config.json": b'{"tokenizer_class": "PreTrainedTokenizerFast"}',
    }


def check_belongs(tokenizer: Tokenizer, vocab_size: int) -> None:
    """Raise ExternalModelError where tokenizer and model have vocabularies of different size."""
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
