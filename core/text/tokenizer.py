"""How text becomes numbers, and numbers text again."""

import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split

from core.errors import TextError, UnknownCharacterError
from core.files import parse_json, write_atomically
from core.text.bpe import BPETokenizer


class CharTokenizer:
    """One number for every distinct character, in the order of their code points, as in Karpathy's lecture.

    Attributes:
        tokens: the characters; a character's place in it is its id.
        vocab_size: how many there are.
    """

    def __init__(self, tokens: Iterable[str]):
        self.tokens = tuple(tokens)
        self.vocab_size = len(self.tokens)
        if any(len(token) != 1 for token in self.tokens) or list(self.tokens) != sorted(set(self.tokens)):
            raise ValueError("tokens must be distinct single characters in the order of their code points")

    @classmethod
    def from_text(cls, text: str) -> "CharTokenizer":
        """The tokenizer that knows exactly the characters of `text`."""
        return cls(sorted(set(text)))

    def encode(self, text: str) -> list[int]:
        """The ids of a text's characters; raises UnknownCharacterError at the first one never seen."""
        return self.encode_array(text).tolist()

    def encode_array(self, text: str) -> np.ndarray:
        """The same as int64 (T,), without a Python loop: a text of millions of characters takes a moment."""
        code_points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        # Whatever lies beyond the table is looked up in its last place, which no token has.
        ids = self._id_of_code_point[np.minimum(code_points, len(self._id_of_code_point) - 1)]
        if ids.size and ids.min() < 0:
            position = int(np.argmax(ids < 0))
            raise UnknownCharacterError(text[position], position)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; raises TextError for an id that no character has."""
        ids = [int(i) for i in ids]
        for i in ids:
            if not 0 <= i < self.vocab_size:
                raise TextError(f"There is no character number {i}: this model knows 0 to {self.vocab_size - 1}.")
        return "".join([self.tokens[i] for i in ids])

    def save(self, path: Path) -> None:
        """Write it as JSON, for `load_tokenizer`."""
        write_atomically(path, json.dumps({"type": "char", "tokens": self.tokens}).encode())

    def to_hugging_face(self) -> tokenizers.Tokenizer:
        """The same as a tokenizer of the `tokenizers` library, for what reads its files."""
        vocabulary = {token: id for id, token in enumerate(self.tokens)}
        found = tokenizers.Tokenizer(WordLevel(vocabulary, unk_token=self.tokens[0]))
        found.pre_tokenizer = Split(tokenizers.Regex(r"[\s\S]"), "isolated")
        found.decoder = Fuse()
        return found

    @classmethod
    def parse(cls, data: dict) -> "CharTokenizer":
        """From what `save` wrote; raises TextError where it is damaged."""
        tokens = data.get("tokens")
        if not isinstance(tokens, list) or not tokens or not all(isinstance(token, str) for token in tokens):
            raise TextError("The tokenizer of this model is damaged: its list of characters is missing.")
        try:
            return cls(tokens)
        except ValueError as error:
            raise TextError(f"The tokenizer of this model is damaged: {error}.") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CharTokenizer) and self.tokens == other.tokens

    def __hash__(self) -> int:
        return hash(self.tokens)

    @cached_property
    def _id_of_code_point(self) -> np.ndarray:
        """For each code point up to the highest token's, and one more, its id, or -1."""
        code_points = [ord(token) for token in self.tokens]
        table = np.full(max(code_points, default=-1) + 2, -1, dtype=np.int64)
        table[code_points] = np.arange(self.vocab_size)
        return table


Tokenizer = CharTokenizer | BPETokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer kept in a run folder; raises TextError if the file is missing, damaged or of an unknown kind."""
    try:
        data = parse_json(path.read_bytes())
    except OSError as error:
        raise TextError(
            f"The tokenizer of this model, {path.name}, cannot be read: {error.strerror or error}."
        ) from None
    except ValueError:
        raise TextError(f"The tokenizer of this model, {path.name}, is damaged: it is not valid JSON.") from None
    kinds = {"char": CharTokenizer, "bpe": BPETokenizer}
    kind = data.get("type") if isinstance(data, dict) else None
    if kind not in kinds:
        raise TextError(f"The tokenizer in {path.name} is of a kind that this version does not know.")
    return kinds[kind].parse(data)
