"""GPT-2's tokenizer: pieces of words, grown by joining the pairs of bytes that occur together most often."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers.decoders import ByteLevel
from tokenizers.implementations import ByteLevelBPETokenizer

from core.errors import TextError
from core.files import parse_json, write_atomically

# Between two lines that hold something on both sides, where no rule of GPT-2's ever joins: after a lone newline.
_SEAM = re.compile(r"(?<=\S\n)(?=\S)")
MOST_TOKENS = 300_000  # the largest vocabularies in use are a little smaller
_PIECE = 20_000  # characters encoded at a time, at least


class BPETokenizer:
    """Byte-level byte-pair encoding (Sennrich 2016; Radford 2019): no character is ever unknown to it.

    Attributes:
        tokens: what each token says; one that is part of a character only says `�`.
        vocab_size: how many there are.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer):
        self._tokenizer = tokenizer
        self.vocab_size = max(tokenizer.get_vocab().values(), default=-1) + 1
        if self.vocab_size > MOST_TOKENS:
            raise TextError(
                f"This tokenizer has {self.vocab_size:,} tokens, and at most {MOST_TOKENS:,} are supported."
            )
        decoder = ByteLevel()
        spelled = (tokenizer.id_to_token(id) for id in range(self.vocab_size))
        self.tokens = tuple("" if token is None else decoder.decode([token]) for token in spelled)

    @classmethod
    def from_folder(cls, folder: Path) -> "BPETokenizer | None":
        """The one beside a model: `tokenizer.json`, or `vocab.json` with `merges.txt` and the tokens added to them.

        None where there is neither. Raises TextError where the files are damaged or of another kind.
        """
        whole, vocabulary, merges = (folder / name for name in ("tokenizer.json", "vocab.json", "merges.txt"))
        try:
            if whole.exists():
                return cls(_from_json(whole.read_text("utf-8")))
            if vocabulary.exists() and merges.exists():
                data = json.loads(ByteLevelBPETokenizer(str(vocabulary), str(merges)).to_str())
                return cls(_from_json(json.dumps(data | {"added_tokens": _added_tokens(folder)})))
        except TextError:
            raise
        except Exception as error:  # the library raises bare Exceptions
            raise TextError(f"The tokenizer in {folder.name} is damaged or not GPT-2's: {str(error)[:200]}.") from None
        return None

    def limited_to(self, vocab_size: int) -> "BPETokenizer":
        """Return it without the added tokens that a model of `vocab_size` tokens has no rows for."""
        if self.vocab_size <= vocab_size:
            return self
        data = json.loads(self._tokenizer.to_str())
        data["added_tokens"] = [token for token in data["added_tokens"] if token["id"] < vocab_size]
        data["post_processor"] = None  # it may put one of them before every text
        return BPETokenizer(_from_json(json.dumps(data)))

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text).ids

    def encode_array(self, text: str) -> np.ndarray:
        """The same as int64 (T,), in pieces side by side: on two cores a megabyte takes about a second."""
        pieces, start = [], 0
        for seam in _SEAM.finditer(text):
            if seam.start() - start >= _PIECE:
                pieces.append(text[start : seam.start()])
                start = seam.start()
        pieces.append(text[start:])
        found = [np.array(piece.ids, dtype=np.int64) for piece in self._tokenizer.encode_batch_fast(pieces)]
        return np.concatenate(found)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; raises TextError for an id that no token has."""
        ids = [int(i) for i in ids]
        for i in ids:
            if not 0 <= i < self.vocab_size:
                raise TextError(f"There is no token number {i}: this model knows 0 to {self.vocab_size - 1}.")
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    def save(self, path: Path) -> None:
        """Write it as JSON, for `load_tokenizer`."""
        data = {"type": "bpe", "tokenizer": json.loads(self._tokenizer.to_str())}
        write_atomically(path, json.dumps(data).encode())

    @classmethod
    def parse(cls, data: dict) -> "BPETokenizer":
        """From what `save` wrote; raises TextError where it is damaged."""
        try:
            return cls(_from_json(json.dumps(data.get("tokenizer"))))
        except TextError:
            raise
        except Exception as error:
            raise TextError(f"The tokenizer of this model is damaged: {str(error)[:200]}.") from None

    def to_hugging_face(self) -> tokenizers.Tokenizer:
        """The library's own tokenizer, for what reads its files."""
        return self._tokenizer

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BPETokenizer) and self._tokenizer.to_str() == other._tokenizer.to_str()

    def __hash__(self) -> int:
        return hash(self.tokens)


def _added_tokens(folder: Path) -> list[dict[str, Any]]:
    """The tokens added to a vocabulary after it was learned (`added_tokens.json`), in the form of tokenizer.json."""
    file = folder / "added_tokens.json"
    ids = parse_json(file.read_bytes()) if file.exists() else {}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False) | {"special": True}
    return [{"id": id, "content": token} | flags for token, id in sorted(ids.items(), key=lambda item: item[1])]


def _from_json(text: str) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer.from_str(text)
    for token in json.loads(text).get("added_tokens") or []:  # the library renumbers those that leave a gap
        if tokenizer.token_to_id(token["content"]) != token["id"]:
            raise TextError(f"The added token {token['content'][:40]!r} has a number that does not follow the others'.")
    if not isinstance(tokenizer.model, tokenizers.models.BPE) or not isinstance(tokenizer.decoder, ByteLevel):
        raise TextError("This tokenizer is not of GPT-2's kind (byte-pair encoding over bytes).")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
