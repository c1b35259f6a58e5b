"""The code of the notebook "BigramLanguageModel" by step, for `core.import_export.notebooks`; also a script."""

# %% text
from core.lessons.bigram import most_frequent, vocabulary_of
from core.paths import data_dir
from core.text.corpora import load_corpus

text = load_corpus("shakespeare", data_dir())[:200_000]  # or your own: open("my_diary.txt", encoding="utf-8").read()
characters = vocabulary_of(text)
vocab_size = len(characters)

print(text[:300])
print(f"\n{len(text):,} characters, {vocab_size} different: {''.join(characters)!r}\n")
for character, count in most_frequent(text)[:10]:
    print(f"{character!r:5} {count / len(text):6.1%} {'█' * (200 * count // len(text))}")

# %% numbers
from core.lessons.bigram import character_ids, decode, encode

id_of = character_ids(characters)
name = "Juliet"  # your own?
numbers = encode(name, id_of)
print(name, "->", numbers, "->", decode(numbers, characters))

# %% split
import torch

from core.lessons.bigram import ngram_loss
from core.text.batches import split_ids

ids = torch.tensor(encode(text, id_of))
train_ids, val_ids = split_ids(ids, val_fraction=0.1)
train_text, val_text = text[: len(train_ids)], text[len(train_ids) :]
print(f"{len(train_text):,} characters of training text, {len(val_text):,} of validation text")
print("context length   loss on training text   loss on validation text")
for context in range(7):
    losses = [ngram_loss(train_text, part[:10_000], context, vocab_size) for part in (train_text, val_text)]
    print(f"{context:14} {losses[0]:23.3f} {losses[1]:25.3f}")

# %% batch
from core.lessons.bigram import examples
from core.text.batches import random_batch

rng = torch.Generator().manual_seed(1337)
x, y = random_batch(train_ids, 4, 8, rng)  # (4, 8) each: four sequences of eight
print("x, inputs:\n", x, "\ny, targets:\n", y)
for context, target in examples(x[0].tolist(), y[0].tolist()):
    print(f"after {decode(context, characters)!r:12} comes {characters[target]!r}")

# %% table
from core.lessons.bigram import as_probabilities, count_pairs

counts = count_pairs(train_ids, vocab_size)  # (V, V)
counted = as_probabilities(counts)
print("a table of", tuple(counts.shape))
for character in "qt ":
    best = counted[id_of[character]].topk(5)
    shown = [f"{characters[i]!r} {p:.0%}" for p, i in zip(*best, strict=True)]
    print(f"most likely after {character!r}: {', '.join(shown)}")

# %% loss
import math

from torch.nn import functional as F

from core.lessons.bigram import cross_entropy_steps, new_bigram

model = new_bigram(vocab_size)
logits, loss = model(x, y)  # (4, 8, V), and the mean loss of the 32 predictions
worked = cross_entropy_steps(logits[0, 0].detach(), int(y[0, 0]))
print(worked)
print("PyTorch computes the same:", F.cross_entropy(logits[0, 0], y[0, 0]).item())
print(f"the whole batch: {loss.item():.3f}; a uniform guess: ln {vocab_size} = {math.log(vocab_size):.3f}")

# %% gradient
from core.lessons.bigram import gradient_steps

result = gradient_steps(vocab_size, x, y, learning_rate=10.0, steps=5, seed=1337)
print("the loss on this batch, step by step:", [round(loss, 3) for loss in result.losses])
changed = [characters[row] for row in result.changed.nonzero().flatten().tolist()]
print(f"{len(changed)} of {vocab_size} rows changed, those of {changed}")
row, target = int(x[0, 0]), int(y[0, 0])
before, after = result.before[row, target], result.after[row, target]
print(f"after {characters[row]!r}, {characters[target]!r} had a probability of {before:.3f}, and now has {after:.3f}")

# %% training
from core.lessons.bigram import distance, train_bigram
from core.text.ngrams import count_baselines
from core.training.evaluation import whole_split_loss

predicted = range(1, len(val_ids))  # all but the first token, for both losses
baselines = count_baselines(train_ids.numpy(), val_ids.numpy(), vocab_size, predicted)
for step, loss in train_bigram(model, train_ids, steps=2000, batch_size=32, learning_rate=0.02, seed=1337):
    if step == 1 or step % 250 == 0:
        print(f"step {step:4}   loss on its batch {loss:.3f}")
val_loss = whole_split_loss(model, val_ids)
print(f"validation loss {val_loss:.3f}; counting pairs reaches {baselines.bigram:.3f}")
print(f"distance of the learned table from the counted one: {distance(model.table(), counted, counts):.0%}")

# %% writing
from core.lessons.bigram import greedy_ids, repeated_cycle, sample_ids

start = torch.tensor(encode("\n", id_of))
print(decode(sample_ids(model, start, 300, seed=1).tolist(), characters))
greedy = greedy_ids(model, torch.tensor(encode("T", id_of)), 60)
print("\nalways the most likely:", decode(greedy.tolist(), characters))
print("it repeats:", repr(decode(repeated_cycle(greedy), characters)))

# %% context first=th second=oh
from core.lessons.bigram import next_character_counts, rows_needed

for beginning in ("h", "th", "oh", "the ki"):
    counts = next_character_counts(train_text, beginning)
    shown = [f"{character!r} {count / counts.total():.0%}" for character, count in counts.most_common(5)]
    print(f"after {beginning!r} ({counts.total():,} times): {', '.join(shown)}")
for length in (1, 2, 3, 8):
    print(f"a table with a context of {length} characters needs {rows_needed(vocab_size, length):,} rows")
