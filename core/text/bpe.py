"""GPT-2's tokenizer: pieces of words, grown by joining the pairs of bytes that occur together most often."""

import codecs
import hashlib
import json
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers.decoders import ByteLevel
from tokenizers.implementations import ByteLevelBPETokenizer
from tokenizers.pre_tokenizers import ByteLevel as PreTokenizer

from core.atomic_io import parse_json, write_atomically
from core.errors import TextError

# Between two lines that hold something on both sides, where no rule of GPT-2's ever joins: after a lone newline.
_SEAM = re.compile(r"(?<=\S\n)(?=\S)")
MOST_TOKENS = 300_000  # the largest vocabularies in use are a little smaller
_PIECE = 20_000  # characters encoded at a time, at least
_GPT2_TOKENS = "80fc72dae333882a37b202858853685b0232e9dd624396c1024fb93536a62a83"  # SHA-256 of GPT-2's, in their order


def _byte_of_sign() -> dict[str, int]:
    """The byte behind each character with which GPT-2's vocabulary spells its tokens (Radford 2019, `encoder.py`)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTES = _byte_of_sign()


class BPETokenizer:
    """Byte-level byte-pair encoding (Sennrich 2016; Radford 2019): no character is ever unknown to it.

    Attributes:
        tokens: the text of each token. Bytes that are only a part of a character are spelled out: `<0xF09F98>`.
        token_bytes: the bytes of each token.
        vocab_size: how many there are.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer):
        self._tokenizer = tokenizer
        self.vocab_size = max(tokenizer.get_vocab().values(), default=-1) + 1
        if self.vocab_size > MOST_TOKENS:
            raise TextError(
                f"This tokenizer has {self.vocab_size:,} tokens, and at most {MOST_TOKENS:,} are supported."
            )
        self.token_bytes = tuple(_bytes_of(tokenizer.id_to_token(id) or "") for id in range(self.vocab_size))
        self.tokens = tuple(data.decode("utf-8", "spell_bytes") for data in self.token_bytes)

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

    @property
    def is_gpt2(self) -> bool:
        """Whether its tokens are the very ones of GPT-2, which `tiktoken.get_encoding("gpt2")` numbers the same."""
        return hashlib.sha256(b"\0".join(self.token_bytes)).hexdigest() == _GPT2_TOKENS

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, begun with the marks of the tokenizer's template as transformers does, but once."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids if ids[: len(self._marks)] == self._marks else self._tokenizer.encode(text).ids

    def encode_array(self, text: str, dtype: type = np.int64) -> np.ndarray:
        """The same as (T,), in pieces side by side: on two cores a megabyte takes about a second."""
        pieces, start = [], 0
        for seam in _SEAM.finditer(text) if self._can_be_cut else ():
            if seam.start() - start >= _PIECE:
                pieces.append(text[start : seam.start()])
                start = seam.start()
        pieces.append(text[start:])
        first = self.encode(pieces[0])  # the only one before which marks or a space are added
        rest = self._without_prefix.encode_batch_fast(pieces[1:], add_special_tokens=False)
        return np.concatenate([np.array(ids, dtype=dtype) for ids in (first, *(piece.ids for piece in rest))])

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

    @cached_property
    def _marks(self) -> list[int]:
        """The special tokens with which its template begins every text."""
        return self._tokenizer.encode("").ids

    @cached_property
    def _can_be_cut(self) -> bool:
        """Whether no token ever crosses a seam: GPT-2's own rule cuts there, and nothing else looks across."""
        added = self._tokenizer.get_added_tokens_decoder().values()
        rule = self._rule
        return (
            self._tokenizer.normalizer is None
            and rule.get("type") == "ByteLevel"
            and rule.get("use_regex", True)
            and not any(token.lstrip or token.rstrip or "\n" in token.content for token in added)
        )

    @cached_property
    def _without_prefix(self) -> tokenizers.Tokenizer:
        """The same tokenizer for pieces from the middle of a text, before which no space is added."""
        if not self._rule.get("add_prefix_space"):
            return self._tokenizer
        inner = tokenizers.Tokenizer.from_str(self._tokenizer.to_str())
        inner.pre_tokenizer = PreTokenizer(add_prefix_space=False)
        return inner

    @cached_property
    def _rule(self) -> dict:
        return json.loads(self._tokenizer.to_str())["pre_tokenizer"] or {}

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


def _bytes_of(token: str) -> bytes:
    """The bytes of one token as the vocabulary spells it. Added tokens may be plain text."""
    return bytes(_BYTES[sign] for sign in token) if all(sign in _BYTES for sign in token) else token.encode()


def _spell_bytes(error: UnicodeError) -> tuple[str, int]:
    return f"<0x{error.object[error.start : error.end].hex().upper()}>", error.end


codecs.register_error("spell_bytes", _spell_bytes)


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
