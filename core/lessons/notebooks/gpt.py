"""The code of the notebook "GPT_Language_Model" by step, for `core.import_export.notebooks`; also a script."""

# %% averaging
import torch

from core.lessons.self_attention import (
    average_by_loop,
    average_by_matrix,
    average_by_softmax,
    averaging_weights,
    softmax_weights,
)

x = torch.randn(5, 2, generator=torch.Generator().manual_seed(1337))  # (T, C): five positions, two channels
print(average_by_loop(x), average_by_matrix(x), average_by_softmax(x), sep="\n\n")
ways = average_by_matrix, average_by_softmax
print("\nall the same:", all(torch.allclose(average_by_loop(x), way(x)) for way in ways))
print("weights by division:", averaging_weights(5), "by softmax:", softmax_weights(torch.zeros(5, 5)), sep="\n")

# %% attention
from core.lessons.quick_train import small_gpt, train_briefly
from core.lessons.self_attention import attend, head_matrices, residual_before_attention
from core.paths import data_dir
from core.text.batches import split_ids
from core.text.corpora import load_corpus
from core.text.tokenizers import CharTokenizer

text = load_corpus("shakespeare", data_dir())[:200_000]  # or your own: open("my_diary.txt", encoding="utf-8").read()
tokenizer = CharTokenizer.from_text(text)
train_ids, val_ids = split_ids(torch.tensor(tokenizer.encode(text)), val_fraction=0.1)


def trained(steps=400, **changes):
    """Train a small GPT briefly, with some settings changed; return its model and losses."""
    config = small_gpt(**changes).replace({"train.steps": steps, "train.eval_interval": steps})
    *_, last = train_briefly({"it": config}, train_ids, val_ids, tokenizer.vocab_size)
    return last.result["it"]


ours = trained()
print(f"a small GPT, {ours.steps[-1]} steps: validation loss {ours.val[-1]:.3f}")

sentence = "to be or not"
ids = tokenizer.encode(sentence)
x = residual_before_attention(ours.model, ids, layer=1)  # (T, C)
head = attend(x, *head_matrices(ours.model, layer=1, head=0))
for place, row in enumerate(head.weights):
    most = int(row.argmax())
    print(f"{sentence[place]!r} attends {float(row[most]):4.0%} to {sentence[most]!r}, {place - most} back")

# %% scaling
from core.lessons.self_attention import max_attention, random_scores

print("head size   largest attention weight: divided, not divided")
for size in (1, 4, 16, 64, 256):
    divided, plain = (max_attention(random_scores(size, divide)) for divide in (True, False))
    print(f"{size:9} {divided:30.2f} {plain:12.2f}")

# %% mask
from core.lessons.sampling_steps import sample_text
from core.lessons.self_attention import attention_to_next, position_losses

cheat = trained(200, causal=False)
print(f"without the mask: validation loss {cheat.val[-1]:.3f}, with it {ours.val[-1]:.3f}")
print(f"largest attention to the next character: {attention_to_next(cheat.model, val_ids):.0%}")
losses = position_losses(cheat.model, val_ids)
print(f"its loss where it sees the future: {losses[:-1].mean():.3f}, and at the last position: {losses[-1]:.3f}")
for name, course in (("without", cheat), ("with", ours)):
    written, _ = sample_text(course.model, tokenizer, "\n", 120, temperature=0.8)
    print(f"\ngenerated {name} the mask: {written!r}")

# %% ladder
import inspect

from core.lessons.quick_train import rung_configs
from core.model.gpt import Block
from core.training.evaluation import run_baselines

print(inspect.getsource(Block))  # where all parts come together

LADDER_STEPS = 200  # the page takes 500; after so few steps a rung may be out of order by chance

counted = run_baselines(rung_configs()["full"], train_ids, val_ids, tokenizer.vocab_size)
reached = {"uniform": counted.uniform, "unigram": counted.unigram, "bigram": counted.bigram}
for name, config in rung_configs().items():
    short = config.replace({"train.steps": LADDER_STEPS, "train.eval_interval": LADDER_STEPS})
    *_, last = train_briefly({name: short}, train_ids, val_ids, tokenizer.vocab_size)
    reached[name] = last.result[name].val[-1]
for name, loss in reached.items():
    print(f"{name:15} {loss:.3f} {'█' * round(15 * loss)}")

# %% positions
from core.lessons.self_attention import predictions_after_shuffling

for position in ("none", "learned", "sinusoidal", "rope"):
    course = trained(200, n_layer=1, position=position)
    shuffled, before, after = predictions_after_shuffling(course.model, tokenizer.encode("the quee"))
    apart = float((before - after).abs().max())
    what = "exactly the same" if apart < 1e-5 else f"something else, by up to {apart:.0%}"
    print(f"{position:10} validation loss {course.val[-1]:.3f}; after {tokenizer.decode(shuffled)!r}: {what}")

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
    "temperature 1": softmax_with_temperature(logits, 1.0),
    "temperature 0.5": softmax_with_temperature(logits, 0.5),
    "temperature 2": softmax_with_temperature(logits, 2.0),
    "top-k 3": keep_top_k(softmax_with_temperature(logits, 1.0), 3),
    "top-p 0.8": keep_top_p(softmax_with_temperature(logits, 1.0), 0.8),
    "all three": sampling_probabilities(logits, 0.8, 5, 0.9),
}
for name, probabilities in ways.items():
    best = [f"{tokenizer.tokens[i]!r} {p:.0%}" for p, i in zip(*probabilities.topk(6), strict=True) if p > 0.005]
    print(f"{name:22} {', '.join(best)}")

# %% likeliest
from core.lessons.sampling_steps import mean_of, sample_text, share_of_repeats

for temperature in (0.0, 0.8, 1.0):
    written, probabilities = sample_text(ours.model, tokenizer, "\n", 240, temperature)
    summary = f"mean probability {mean_of(probabilities):.0%}, {share_of_repeats(written):.0%} repeated"
    print(f"temperature {temperature}: {summary}\n{written}\n")
