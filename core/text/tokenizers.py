"""Tokenizers: text to ids and ids to text. `TOKENIZERS` lists them, and `core.config` their names."""

import codecs
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar, Self, SupportsIndex

import numpy as np
import tokenizers
from tokenizers.decoders import ByteLevel, Fuse
from tokenizers.implementations import ByteLevelBPETokenizer
from tokenizers.models import BPE, WordLevel
from tokenizers.pre_tokenizers import ByteLevel as PreTokenizer
from tokenizers.pre_tokenizers import Split

from core.atomic_io import parse_json, write_atomically
from core.errors import TextError, UnknownCharacterError
from core.text.splitting import HALF_OF_A_PAIR, WORD, chunks_of

OnProgress = Callable[[float], None]  # gets the share of a long computation that is done, and may raise to stop it
MAX_TOKENS = 300_000  # the largest vocabularies in use are a little smaller
_CHUNK = 1 << 20  # characters that `CharTokenizer` encodes at once
_CHUNKS = 50  # chunks whose words are encoded at once, in parallel
_GPT2_TOKENS = "80fc72dae333882a37b202858853685b0232e9dd624396c1024fb93536a62a83"  # SHA-256 of GPT-2's tokens, in order


class CharTokenizer:
    """One token for each distinct character, in the order of code points, as in Karpathy's lecture."""

    name: ClassVar[str] = "char"
    by_character: ClassVar[bool] = True
    is_gpt2: ClassVar[bool] = False

    def __init__(self, tokens: Iterable[str]):
        self.tokens = tuple(tokens)
        self.vocab_size = len(self.tokens)
        if any(len(token) != 1 for token in self.tokens) or list(self.tokens) != sorted(set(self.tokens)):
            raise ValueError("tokens must be distinct single characters in the order of their code points")

    @classmethod
    def from_text(cls, text: str) -> "CharTokenizer":
        """Return the tokenizer whose vocabulary is the characters of `text`."""
        return cls(sorted(set(text)))

    def encode(self, text: str) -> list[int]:
        """Return a text's ids; raises UnknownCharacterError at the first character outside the vocabulary."""
        return self.encode_array(text).tolist()

    def encode_array(self, text: str, dtype: type = np.int64) -> np.ndarray:
        """Return a text's ids (T,), without a Python loop: millions of characters take a moment."""
        ids = np.empty(len(text), dtype)
        for start in range(0, len(text), _CHUNK):
            chunk = text[start : start + _CHUNK]
            code_points = np.frombuffer(chunk.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
            # Code points beyond the table are looked up in its last entry, which is no token's.
            chunk_ids = self._id_of_code_point[np.minimum(code_points, len(self._id_of_code_point) - 1)]
            if chunk_ids.min() < 0:
                position = start + int(np.argmax(chunk_ids < 0))
                raise UnknownCharacterError(text[position], position)
            ids[start : start + _CHUNK] = chunk_ids
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; raises TextError for an id outside the vocabulary."""
        ids = _known(ids, self.vocab_size, "character")
        return "".join([self.tokens[i] for i in ids])

    def save(self, path: Path) -> None:
        """Write the tokenizer as JSON, for `load_tokenizer`."""
        write_atomically(path, json.dumps({"type": self.name, "tokens": self.tokens}).encode())

    def to_hugging_face(self) -> tokenizers.Tokenizer:
        """Return an equivalent tokenizer of the `tokenizers` library, whose files other programs read.

        The model has no id for an unknown character, so the vocabulary has none: encoding one is an error there too.
        """
        vocabulary = {token: id for id, token in enumerate(self.tokens)}
        tokenizer = tokenizers.Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
        tokenizer.pre_tokenizer = Split(tokenizers.Regex(r"[\s\S]"), "isolated")
        tokenizer.decoder = Fuse()
        return tokenizer

    @classmethod
    def parse(cls, data: dict[str, Any]) -> "CharTokenizer":
        """Build a tokenizer from the data that `save` wrote; raises TextError if they are damaged."""
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
    def token_bytes(self) -> tuple[bytes, ...]:
        """Return each token in UTF-8."""
        return tuple(token.encode("utf-8", "surrogatepass") for token in self.tokens)

    @cached_property
    def _id_of_code_point(self) -> np.ndarray:
        """Return the id of each code point up to one beyond the highest token's; -1 for none."""
        code_points = [ord(token) for token in self.tokens]
        table = np.full(max(code_points, default=-1) + 2, -1, dtype=np.int64)
        table[code_points] = np.arange(self.vocab_size)
        return table


def _known(ids: Iterable[SupportsIndex], vocab_size: int, what: str) -> list[int]:
    whole = [int(id) for id in ids]
    if (unknown := next((id for id in whole if not 0 <= id < vocab_size), None)) is not None:
        raise TextError(f"There is no {what} number {unknown}: this model knows 0 to {vocab_size - 1}.")
    return whole


# The byte for each character that GPT-2's vocabulary spells tokens with (Radford 2019, `encoder.py`).
_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
_BYTES = {chr(byte): byte for byte in _PRINTABLE} | {chr(256 + index): byte for index, byte in enumerate(_OTHERS)}


class BPETokenizer:
    """Byte-level byte-pair encoding (Sennrich 2016; Radford 2019): every text can be encoded."""

    name: ClassVar[str] = "bpe"
    by_character: ClassVar[bool] = False
    from_text: ClassVar[Callable[[str], Any] | None] = None  # it needs a size too: `core.text.bpe.new_tokenizer`

    def __init__(self, tokenizer: tokenizers.Tokenizer):
        self._tokenizer = tokenizer
        self.vocab_size = max(tokenizer.get_vocab().values(), default=-1) + 1
        if self.vocab_size > MAX_TOKENS:
            raise TextError(f"This tokenizer has {self.vocab_size:,} tokens, and at most {MAX_TOKENS:,} are supported.")
        self.token_bytes = tuple(_bytes_of(tokenizer.id_to_token(id) or "") for id in range(self.vocab_size))
        self.tokens = tuple(data.decode("utf-8", "spell_bytes") for data in self.token_bytes)

    @classmethod
    def from_merges(cls, merges: Sequence[tuple[str, str]]) -> Self:
        """Return a tokenizer of the 256 bytes and one token per merge, spelled and numbered like GPT-2's.

        It also splits text into words like GPT-2's.
        """
        vocabulary = {sign: id for id, sign in enumerate(_BYTES)}
        for left, right in merges:
            vocabulary.setdefault(left + right, len(vocabulary))
        return cls(_byte_level(vocabulary, merges))

    @classmethod
    def from_folder(cls, folder: Path) -> "BPETokenizer | None":
        """Read `tokenizer.json`, or `vocab.json` with `merges.txt` and the tokens added to them, from a model's folder.

        Returns None if there is neither. Raises TextError if the files are damaged or of another kind.
        """
        tokenizer_file, vocabulary, merges = (folder / name for name in ("tokenizer.json", "vocab.json", "merges.txt"))
        try:
            if tokenizer_file.exists():
                return cls(_from_json(tokenizer_file.read_text("utf-8")))
            if vocabulary.exists() and merges.exists():
                data = json.loads(ByteLevelBPETokenizer(str(vocabulary), str(merges)).to_str())
                return cls(_from_json(json.dumps(data | {"added_tokens": _added_tokens(folder)})))
        except TextError:
            raise
        except Exception as error:  # the library raises bare Exceptions
            raise TextError(f"The tokenizer in {folder.name} is damaged or not GPT-2's: {str(error)[:200]}.") from None
        return None

    def limited_to(self, vocab_size: int) -> "BPETokenizer":
        """Return the tokenizer without the added tokens that a model of `vocab_size` tokens has no rows for."""
        if self.vocab_size <= vocab_size:
            return self
        data = json.loads(self._tokenizer.to_str())
        data["added_tokens"] = [token for token in data["added_tokens"] if token["id"] < vocab_size]
        data["post_processor"] = None  # it may put one of them before every text
        return BPETokenizer(_from_json(json.dumps(data)))

    @property
    def is_gpt2(self) -> bool:
        """Return whether its tokens are exactly GPT-2's, numbered as by `tiktoken.get_encoding("gpt2")`."""
        return hashlib.sha256(b"\0".join(self.token_bytes)).hexdigest() == _GPT2_TOKENS

    def encode(self, text: str) -> list[int]:
        """Return a text's ids after the template's special tokens, as in transformers, but without repeating these."""
        if half := HALF_OF_A_PAIR.search(text):  # not valid in UTF-8, and the library's error is unclear
            raise UnknownCharacterError(half[0], half.start())
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids if ids[: len(self._marks)] == self._marks else self._tokenizer.encode(text).ids

    def encode_array(self, text: str, dtype: type = np.int64, report: OnProgress = lambda share: None) -> np.ndarray:
        """Return a text's ids (T,); each distinct word is encoded only once."""
        chunks = chunks_of(text) if self._can_be_split else iter([text])
        first = next(chunks)  # the only one that special tokens or a space precede
        encoded, done = [np.array(self.encode(first), dtype)], len(first)
        while batch := list(islice(chunks, _CHUNKS)):
            encoded.append(self._encode_words(chain.from_iterable(map(WORD.findall, batch)), dtype))
            done += sum(map(len, batch))
            report(done / len(text))
        return np.concatenate(encoded)

    def _encode_words(self, words: Iterable[str], dtype: type) -> np.ndarray:
        """Return the ids (T,) of words one after another."""
        places: dict[str, int] = {}  # index of each word among the distinct ones
        order = np.array([places.setdefault(word, len(places)) for word in words], np.int64)
        different = self._without_prefix.encode_batch_fast(list(places), add_special_tokens=False)
        ids = np.fromiter(chain.from_iterable(word.ids for word in different), dtype)
        lengths = np.array([len(word.ids) for word in different])
        each = lengths[order]
        begin = (np.cumsum(lengths) - lengths)[order]  # start of each word in `ids`
        return ids[np.repeat(begin - np.cumsum(each) + each, each) + np.arange(each.sum())]

    def decode(self, ids: Iterable[int]) -> str:
        ids = _known(ids, self.vocab_size, "token")
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    def save(self, path: Path) -> None:
        data = {"type": self.name, "tokenizer": json.loads(self._tokenizer.to_str())}
        write_atomically(path, json.dumps(data).encode())

    @classmethod
    def parse(cls, data: dict[str, Any]) -> "BPETokenizer":
        try:
            return cls(_from_json(json.dumps(data.get("tokenizer"))))
        except TextError:
            raise
        except Exception as error:
            raise TextError(f"The tokenizer of this model is damaged: {str(error)[:200]}.") from None

    def to_hugging_face(self) -> tokenizers.Tokenizer:
        return self._tokenizer

    @cached_property
    def _marks(self) -> list[int]:
        return self._tokenizer.encode("").ids

    @cached_property
    def _can_be_split(self) -> bool:
        """Return whether no token crosses a seam: GPT-2's own rule splits there, and no other rule applies."""
        if self._tokenizer.normalizer or self._rule.get("type") != "ByteLevel" or not self._rule.get("use_regex", True):
            return False
        added = self._tokenizer.get_added_tokens_decoder().values()
        return not any(
            token.lstrip or token.rstrip or token.single_word or not re.fullmatch(r"\S+", token.content)
            or WORD.findall(token.content) != [token.content] for token in added
        )  # fmt: skip

    @cached_property
    def _without_prefix(self) -> tokenizers.Tokenizer:
        if not self._rule.get("add_prefix_space"):
            return self._tokenizer
        inner = tokenizers.Tokenizer.from_str(self._tokenizer.to_str())
        inner.pre_tokenizer = PreTokenizer(add_prefix_space=False)
        return inner

    @cached_property
    def _rule(self) -> dict[str, Any]:
        return json.loads(self._tokenizer.to_str())["pre_tokenizer"] or {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BPETokenizer) and self._tokenizer.to_str() == other._tokenizer.to_str()

    def __hash__(self) -> int:
        return hash(self.tokens)


class ByteTokenizer(BPETokenizer):
    """One token for each byte of UTF-8, whose id is the byte: BPE without merges."""

    name: ClassVar[str] = "byte"

    @classmethod
    # pyrefly: ignore[bad-override]
    def from_text(cls, _text: str = "") -> Self:
        """Return the same tokenizer for every text."""
        return cls(_byte_level(_BYTES, []))

    def encode_array(self, text: str, dtype: type = np.int64, report: OnProgress = lambda share: None) -> np.ndarray:
        """Return a text's ids (T,): its bytes."""
        report(1.0)
        return np.frombuffer(text.encode(), np.uint8).astype(dtype)


Tokenizer = CharTokenizer | BPETokenizer
TOKENIZERS: dict[str, type[Tokenizer]] = {kind.name: kind for kind in (CharTokenizer, ByteTokenizer, BPETokenizer)}
"""Every tokenizer by its name in `data.tokenizer`. `by_character`: each token is one character. `from_text` is None
if the training text alone does not determine it.
"""


class IncrementalDecoder:
    """Decodes ids one at a time; the joined texts are what `tokenizer.decode` returns for all ids at once.

    The bytes of a character may be split over several tokens; its text comes with the last of them.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, id: int) -> str:
        """Return the text that this token completes: "" if it ends within a character."""
        if self._tokenizer.by_character:
            return self._tokenizer.tokens[id]
        return self._decoder.decode(self._tokenizer.token_bytes[id])

    @property
    def pending(self) -> bool:
        """Return whether a character is unfinished."""
        return bool(self._decoder.getstate()[0])

    def finish(self) -> str:
        """Return `�` for a character that no further token will complete, else ""."""
        return self._decoder.decode(b"", final=True)


def token_texts(tokenizer: Tokenizer, ids: Iterable[SupportsIndex]) -> list[str]:
    """Return the text that each token completes; joined, they are the text of all tokens."""
    decoder = IncrementalDecoder(tokenizer)
    texts = [decoder.add(int(id)) for id in ids]
    if texts:
        texts[-1] += decoder.finish()
    return texts


def opening_ids(tokenizer: Tokenizer) -> list[int]:
    """Return the ids that a model continues if there is no prompt: a newline, or token 0 if it has no newline."""
    return tokenizer.encode("\n") if "\n" in tokenizer.tokens else [0]


def load_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer of a run folder; raises TextError if the file is missing, damaged or of an unknown kind."""
    try:
        data = parse_json(path.read_bytes())
    except OSError as error:
        raise TextError(
            f"The tokenizer of this model, {path.name}, cannot be read: {error.strerror or error}."
        ) from None
    except ValueError:
        raise TextError(f"The tokenizer of this model, {path.name}, is damaged: it is not valid JSON.") from None
    name = data.get("type") if isinstance(data, dict) else None
    if name not in TOKENIZERS:
        raise TextError(f"The tokenizer in {path.name} is of a kind that this version does not know.")
    return TOKENIZERS[name].parse(data)


def _added_tokens(folder: Path) -> list[dict[str, Any]]:
    file = folder / "added_tokens.json"
    ids = parse_json(file.read_bytes()) if file.exists() else {}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False) | {"special": True}
    return [{"id": id, "content": token} | flags for token, id in sorted(ids.items(), key=lambda item: item[1])]


def _bytes_of(token: str) -> bytes:
    return bytes(_BYTES[sign] for sign in token) if all(sign in _BYTES for sign in token) else token.encode()


def _byte_level(vocabulary: dict[str, int], merges: Sequence[tuple[str, str]]) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(BPE(vocabulary, list(merges)))
    tokenizer.pre_tokenizer = PreTokenizer(add_prefix_space=False)
    tokenizer.decoder = ByteLevel()
    return tokenizer


def _spell_bytes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return f"<0x{error.object[error.start : error.end].hex().upper()}>", error.end


codecs.register_error("spell_bytes", _spell_bytes)


def _from_json(text: str) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer.from_str(text)
    for token in json.loads(text).get("added_tokens") or []:  # the library renumbers tokens that leave a gap
        if tokenizer.token_to_id(token["content"]) != token["id"]:
            raise TextError(f"The added token {token['content'][:40]!r} has a number that does not follow the others'.")
    if not isinstance(tokenizer.model, tokenizers.models.BPE) or not isinstance(tokenizer.decoder, ByteLevel):
        raise TextError("This tokenizer is not of GPT-2's kind (byte-pair encoding over bytes).")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
