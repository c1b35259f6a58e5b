"""How text becomes numbers, and numbers text again."""

import codecs
import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split

from core.atomic_io import parse_json, write_atomically
from core.errors import TextError, UnknownCharacterError
from core.text.bpe import BPETokenizer

_PIECE = 1 << 20  # characters that are encoded together


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

    def encode_array(self, text: str, dtype: type = np.int64) -> np.ndarray:
        """The same as (T,), without a Python loop: a text of millions of characters takes a moment.

        Args:
            dtype: of the ids; int32 takes half the memory of a long text.
        """
        ids = np.empty(len(text), dtype)
        for start in range(0, len(text), _PIECE):
            piece = text[start : start + _PIECE]
            code_points = np.frombuffer(piece.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
            # Whatever lies beyond the table is looked up in its last place, which no token has.
            found = self._id_of_code_point[np.minimum(code_points, len(self._id_of_code_point) - 1)]
            if found.min() < 0:
                position = start + int(np.argmax(found < 0))
                raise UnknownCharacterError(text[position], position)
            ids[start : start + _PIECE] = found
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
        """The same as a tokenizer of the `tokenizers` library, for what reads its files.

        The model has no id for an unknown character, so neither has the vocabulary: encoding one is an error there too.
        """
        vocabulary = {token: id for id, token in enumerate(self.tokens)}
        found = tokenizers.Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
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


class IncrementalDecoder:
    """Decode ids one at a time; the texts joined are what `tokenizer.decode` returns for all ids at once.

    The bytes of a character may be split over several tokens. They are held until the last of them has come.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, id: int) -> str:
        """Return the text that this token completes: "" where it ends within a character."""
        if isinstance(self._tokenizer, CharTokenizer):
            return self._tokenizer.tokens[id]
        return self._decoder.decode(self._tokenizer.token_bytes[id])

    @property
    def pending(self) -> bool:
        """Whether bytes of an unfinished character are held."""
        return bool(self._decoder.getstate()[0])

    def finish(self) -> str:
        """Return `�` for a character that no further token will complete, else ""."""
        return self._decoder.decode(b"", final=True)


def token_texts(tokenizer: Tokenizer, ids: Iterable[int]) -> list[str]:
    """Return the text that each token completes; joined, they are the text of all of them."""
    decoder = IncrementalDecoder(tokenizer)
    texts = [decoder.add(int(id)) for id in ids]
    if texts:
        texts[-1] += decoder.finish()
    return texts


def opening_ids(tokenizer: Tokenizer) -> list[int]:
    """Return what a model continues when there is no prompt: a newline, or token 0 where its text has none."""
    return tokenizer.encode("\n") if "\n" in tokenizer.tokens else [0]


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
