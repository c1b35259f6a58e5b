"""The GPT lesson as it is walked through in a notebook: a piece for each step, begun by its name.

`core.import_export.lesson_notebooks` makes the notebook. It puts the step's words before each piece, and replaces the
piece's imports from `core.lessons` by their source. From top to bottom this is also a script that runs.
"""

# %% averaging
import torch

from core.lessons.averaging import average_by_loop, average_by_matrix, average_by_softmax, softmax_weights, triangle

x = torch.randn(5, 2, generator=torch.Generator().manual_seed(1337))  # (T, C): five places, two numbers at each
print(average_by_loop(x), average_by_matrix(x), average_by_softmax(x), sep="\n\n")
ways = average_by_matrix, average_by_softmax
print("\nall the same:", all(torch.allclose(average_by_loop(x), way(x)) for way in ways))
print("the weights, from the triangle and from softmax:", triangle(5), softmax_weights(torch.zeros(5, 5)), sep="\n")

# %% attention
from core.lessons.quick_train import small_gpt, train_briefly
from core.lessons.self_attention import attend, matrices_of, residual_before_attention
from core.paths import data_dir
from core.text.batches import split_ids
from core.text.corpora import load_corpus
from core.text.tokenizers import CharTokenizer

text = load_corpus("shakespeare", data_dir())[:200_000]  # or your own: open("my_diary.txt", encoding="utf-8").read()
tokenizer = CharTokenizer.from_text(text)
train_ids, val_ids = split_ids(torch.tensor(tokenizer.encode(text)), val_fraction=0.1)


def trained(steps=400, **changes):
    """A small GPT with some settings changed, trained for a moment: its course, with its model and its losses."""
    config = small_gpt(**changes).replace({"train.steps": steps, "train.eval_interval": steps})
    *_, last = train_briefly({"it": config}, train_ids, val_ids, tokenizer.vocab_size)
    return last.result["it"]


ours = trained()
print(f"a small GPT, {ours.steps[-1]} steps: validation loss {ours.val[-1]:.3f}")

sentence = "to be or not"
ids = tokenizer.encode(sentence)
x = residual_before_attention(ours.model, ids, layer=1)  # (T, C)
head = attend(x, *matrices_of(ours.model, layer=1, head=0))
for place, row in enumerate(head.weights):
    most = int(row.argmax())
    print(f"{sentence[place]!r} looks {float(row[most]):4.0%} at {sentence[most]!r}, {place - most} back")

# %% scaling
from core.lessons.self_attention import max_attention, random_scores

print("head size   weight of the favourite: divided, not divided")
for size in (1, 4, 16, 64, 256):
    divided, plain = (max_attention(random_scores(size, divide)) for divide in (True, False))
    print(f"{size:9} {divided:30.2f} {plain:12.2f}")

# %% mask
from core.lessons.masking import look_ahead, loss_by_place
from core.lessons.sampling_steps import write

cheat = trained(200, causal=False)
print(f"without the mask: validation loss {cheat.val[-1]:.3f}, with it {ours.val[-1]:.3f}")
print(f"attention to the very next letter, its best head: {look_ahead(cheat.model, val_ids):.0%}")
places = loss_by_place(cheat.model, val_ids)
print(f"its loss where the future is seen: {places[:-1].mean():.3f}, and at the last place: {places[-1]:.3f}")
for name, course in (("without", cheat), ("with", ours)):
    written, _ = write(course.model, tokenizer, "\n", 120, temperature=0.8)
    print(f"\nwritten {name} the mask: {written!r}")

# %% ladder
import inspect

from core.lessons.ladder import rung_configs
from core.model.gpt import Block
from core.training.evaluation import run_baselines

print(inspect.getsource(Block))  # where all the parts come together

LADDER_STEPS = 200  # the page takes 500; in so short a training a rung may slip by luck

counted = run_baselines(rung_configs()["full"], train_ids, val_ids, tokenizer.vocab_size)
reached = {"at random": counted.uniform, "single letters": counted.unigram, "pairs, counted": counted.bigram}
for name, config in rung_configs().items():
    short = config.replace({"train.steps": LADDER_STEPS, "train.eval_interval": LADDER_STEPS})
    *_, last = train_briefly({name: short}, train_ids, val_ids, tokenizer.vocab_size)
    reached[name] = last.result[name].val[-1]
for name, loss in reached.items():
    print(f"{name:15} {loss:.3f} {'█' * round(15 * loss)}")

# %% positions
from core.lessons.masking import after_shuffling

for position in ("none", "learned", "sinusoidal", "rope"):
    course = trained(200, n_layer=1, position=position)
    shuffled, before, after = after_shuffling(course.model, tokenizer.encode("the quee"))
    apart = float((before - after).abs().max())
    what = "exactly the same" if apart < 1e-5 else f"something else, by up to {apart:.0%}"
    print(f"{position:10} validation loss {course.val[-1]:.3f}; after {tokenizer.decode(shuffled)!r} it expects {what}")

# %% today
kinds = {
    "ours": {"position": "learned", "norm": "layer", "activation": "relu", "bias": False},
    "GPT-2": {"position": "learned", "norm": "layer", "activation": "gelu_tanh", "bias": True},
    "today": {"position": "rope", "norm": "rms", "activation": "swiglu", "bias": False},
}
for name, changes in kinds.items():
    course = trained(200, **changes)
    parameters = sum(parameter.numel() for parameter in course.model.parameters())
    print(f"{name:6} {parameters:7,} parameters, validation loss after 200 steps {course.val[-1]:.3f}")

# %% choosing
from core.lessons.sampling_steps import keep_top_k, keep_top_p, sampling_probabilities, softmax_with_temperature

with torch.no_grad():
    logits = ours.model(torch.tensor([tokenizer.encode("the quee")]))[0][0, -1]  # (V,)
ways = {
    "as the model believes": softmax_with_temperature(logits, 1.0),
    "temperature 0.5": softmax_with_temperature(logits, 0.5),
    "temperature 2": softmax_with_temperature(logits, 2.0),
    "top-k 3": keep_top_k(softmax_with_temperature(logits, 1.0), 3),
    "top-p 0.8": keep_top_p(softmax_with_temperature(logits, 1.0), 0.8),
    "all three": sampling_probabilities(logits, 0.8, 5, 0.9),
}
for name, shares in ways.items():
    best = [f"{tokenizer.tokens[i]!r} {p:.0%}" for p, i in zip(*shares.topk(6), strict=True) if p > 0.005]
    print(f"{name:22} {', '.join(best)}")

# %% likeliest
from core.lessons.sampling_steps import mean_of, share_of_repeats, write

for temperature in (0.0, 0.8, 1.0):
    written, believed = write(ours.model, tokenizer, "\n", 240, temperature)
    told = f"held for {mean_of(believed):.0%} likely, {share_of_repeats(written):.0%} said before"
    print(f"temperature {temperature}: {told}\n{written}\n")
