"""The bigram lesson as it is walked through in a notebook: a piece for each step, begun by its name.

`core.import_export.lesson_notebooks` makes the notebook. It puts the step's words before each piece, and replaces the
piece's imports from `core.lessons` by their source. From top to bottom this is also a script that runs.
"""

# %% text
from core.lessons.encoding import alphabet, most_frequent
from core.paths import data_dir
from core.text.corpora import load_corpus

text = load_corpus("shakespeare", data_dir())[:200_000]  # or your own: open("my_diary.txt", encoding="utf-8").read()
characters = alphabet(text)
vocab_size = len(characters)

print(text[:300])
print(f"\n{len(text):,} characters, {vocab_size} different ones: {''.join(characters)!r}\n")
for character, count in most_frequent(text)[:10]:
    print(f"{character!r:5} {count / len(text):6.1%} {'█' * (200 * count // len(text))}")

# %% numbers
from core.lessons.encoding import decode, encode, numbers_of

number_of = numbers_of(characters)
name = "Juliet"  # your own?
numbers = encode(name, number_of)
print(name, "->", numbers, "->", decode(numbers, characters))

# %% split
import torch

from core.lessons.ngram_context import memory_loss
from core.text.batches import split_ids

ids = torch.tensor(encode(text, number_of))
train_ids, val_ids = split_ids(ids, val_fraction=0.1)
train_text, val_text = text[: len(train_ids)], text[len(train_ids) :]
print(f"{len(train_text):,} characters to learn from, {len(val_text):,} kept aside")
print("letters remembered   loss on what it learned   loss on what was kept aside")
for letters in range(7):
    known, unseen = (memory_loss(train_text, part[:10_000], letters, vocab_size) for part in (train_text, val_text))
    print(f"{letters:18} {known:25.3f} {unseen:29.3f}")

# %% batch
from core.lessons.bigram_counts import examples
from core.text.batches import random_batch

rng = torch.Generator().manual_seed(1337)
x, y = random_batch(train_ids, 4, 8, rng)  # (4, 8) each: four pieces of eight
print("x, what is read:\n", x, "\ny, what truly came:\n", y)
for context, target in examples(x[0].tolist(), y[0].tolist()):
    print(f"after {decode(context, characters)!r:12} comes {characters[target]!r}")

# %% table
from core.lessons.bigram_counts import as_probabilities, count_pairs

counts = count_pairs(train_ids, vocab_size)  # (V, V)
counted = as_probabilities(counts)
print("a table of", tuple(counts.shape))
for character in "qt ":
    likeliest = counted[number_of[character]].topk(5)
    shown = [f"{characters[i]!r} {p:.0%}" for p, i in zip(*likeliest, strict=True)]
    print(f"after {character!r} most often: {', '.join(shown)}")

# %% loss
import math

from torch.nn import functional as F

from core.lessons.bigram_training import new_bigram
from core.lessons.cross_entropy import cross_entropy_steps

model = new_bigram(vocab_size)
logits, loss = model(x, y)  # (4, 8, V), and the mean loss of the 32 guesses
worked = cross_entropy_steps(logits[0, 0].detach(), int(y[0, 0]))
print(worked)
print("PyTorch finds the same:", F.cross_entropy(logits[0, 0], y[0, 0]).item())
print(f"the whole batch: {loss.item():.3f}; guessing at random: ln {vocab_size} = {math.log(vocab_size):.3f}")

# %% gradient
from core.lessons.bigram_training import look_closely

seen = look_closely(vocab_size, x, y, learning_rate=10.0, steps=5, seed=1337)
print("the loss on this batch, step by step:", [round(loss, 3) for loss in seen.losses])
moved = [characters[row] for row in seen.moved.nonzero().flatten().tolist()]
print(f"{len(moved)} of {vocab_size} rows moved, those of {moved}")
row, came = int(x[0, 0]), int(y[0, 0])
before, after = seen.before[row, came], seen.after[row, came]
print(f"after {characters[row]!r}, {characters[came]!r} had a probability of {before:.3f}, and now {after:.3f}")

# %% training
from core.lessons.bigram_counts import distance
from core.lessons.bigram_training import train_bigram
from core.text.ngrams import count_baselines
from core.training.evaluation import whole_split_loss

predicted = range(1, len(val_ids))  # all but the first, for both losses
baselines = count_baselines(train_ids.numpy(), val_ids.numpy(), vocab_size, predicted)
for step, loss in train_bigram(model, train_ids, steps=2000, batch_size=32, learning_rate=0.02, seed=1337):
    if step == 1 or step % 250 == 0:
        print(f"step {step:4}   loss on its batch {loss:.3f}")
val_loss = whole_split_loss(model, val_ids)
print(f"validation loss {val_loss:.3f}; counting pairs reaches {baselines.bigram:.3f}")
elsewhere = distance(model.table(), counted, counts)
print(f"{elsewhere:.0%} of what the learned table believes still lies elsewhere than counting says")

# %% writing
from core.lessons.bigram_sampling import circle, write, write_likeliest

start = torch.tensor(encode("\n", number_of))
print(decode(write(model, start, 300, seed=1).tolist(), characters))
likeliest = write_likeliest(model, torch.tensor(encode("T", number_of)), 60)
print("\nalways the likeliest:", decode(likeliest.tolist(), characters))
print("it goes in a circle:", repr(decode(circle(likeliest), characters)))

# %% context first=th second=oh
from core.lessons.ngram_context import rows_needed, what_follows

for beginning in ("h", "th", "oh", "the ki"):
    found = what_follows(train_text, beginning)
    shown = [f"{character!r} {count / found.total():.0%}" for character, count in found.most_common(5)]
    print(f"after {beginning!r} ({found.total():,} times): {', '.join(shown)}")
for letters in (1, 2, 3, 8):
    print(f"a table that looks at {letters} letters needs {rows_needed(vocab_size, letters):,} rows")
