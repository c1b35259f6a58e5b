"""The code of the notebook "From_Characters_to_Tokens" by step, for `core.import_export.notebooks`; also a script."""

# %% bytes
from core.paths import data_dir
from core.text.corpora import load_corpus

text = load_corpus("shakespeare", data_dir())[:200_000]  # or your own: open("my_diary.txt", encoding="utf-8").read()
for character in "Größe 你好 🙂":  # your own?
    print(f"{character!r:5} U+{ord(character):05X} {list(character.encode())}")
print(f"{len(text):,} characters, {len(text.encode()):,} bytes")

# %% pairs
from core.lessons.byte_pairs import bytes_of_tokens, pair_counts, train_byte_pairs

sentence = text[:240]
pairs, words = train_byte_pairs(sentence, 12)
tokens = bytes_of_tokens(pairs)
print("|".join(tokens[id].decode(errors="backslashreplace") for word in words for id in word))
print(f"\n{len(sentence.encode())} bytes have become {sum(map(len, words))} tokens")
for (left, right), count in pair_counts(words).most_common(5):
    print(f"{tokens[left]} + {tokens[right]}: {count} times")

# %% merges
from core.text.bpe import train_merges
from core.text.tokenizers import BPETokenizer

merges = train_merges(text)  # the same in a compiled library
for vocab_size in (256, 512, 1024, 2048, 4096):
    tokenizer = BPETokenizer.from_merges(merges[: vocab_size - 256])
    ids = tokenizer.encode(text)
    print(f"vocabulary {vocab_size:4}: {len(ids):7,} tokens, {len(text.encode()) / len(ids):.2f} bytes per token")
print(", ".join(repr(token) for token in tokenizer.tokens[-8:]))

# %% price
from core.lessons.byte_pairs import compare_tokenizers
from core.text.tokenizers import CharTokenizer

kinds = {"characters": CharTokenizer.from_text(text)}
kinds |= {f"{size} tokens": BPETokenizer.from_merges(merges[: size - 256]) for size in (384, 1024)}
for progress in compare_tokenizers(text, kinds):
    trials = progress.result
for name, trial in trials.items():
    print(f"{name:12} {trial.parameters:8,} parameters  {trial.nats:.3f} nats per token", end="  ")
    print(f"{trial.bytes_per_token:.2f} bytes per token  {trial.bits_per_byte:.3f} bits per byte")
