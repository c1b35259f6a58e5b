"""The tokenizer that belongs to somebody's model: beside it in its folder, or the characters of the text it read."""

from pathlib import Path

from core.errors import TextError
from core.files import parse_json
from core.interop.foreign import ForeignModelError
from core.text.bpe import BPETokenizer
from core.text.tokenizer import CharTokenizer, Tokenizer

FILE = "tokenizer.json"


def read_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer in a model's folder: GPT-2's, or single characters as we write them. None where there is none.

    Raises TextError where it is damaged or of another kind.
    """
    characters = _characters(folder / FILE)
    return characters or BPETokenizer.from_folder(folder)


def write_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Write `tokenizer.json`, which transformers reads too, told by `tokenizer_config.json` to take it as it is."""
    tokenizer.to_hugging_face().save(str(folder / FILE), pretty=True)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')


def check_belongs(tokenizer: Tokenizer, vocab_size: int) -> None:
    """Raises ForeignModelError where a tokenizer numbers more or fewer tokens than the model knows."""
    if tokenizer.vocab_size != vocab_size:
        raise ForeignModelError(
            f"The model knows {vocab_size:,} tokens, but the tokenizer has {tokenizer.vocab_size:,}, so they do not "
            "belong together."
        )


def _characters(path: Path) -> CharTokenizer | None:
    try:
        model = parse_json(path.read_bytes())["model"]
        if model["type"] != "WordLevel":
            return None
        vocabulary = model["vocab"]
        tokens = sorted(vocabulary, key=vocabulary.get)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    try:
        return CharTokenizer(tokens)
    except (ValueError, TypeError):
        raise TextError(f"The tokenizer in {path.name} is neither GPT-2's nor one of single characters.") from None
