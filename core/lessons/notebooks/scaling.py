"""The code of the notebook "Scaling_Laws" by step, for `core.import_export.notebooks`; also a script."""

# %% budget
import torch

from core.lessons.equal_compute import SIZES, best_size, train_at_equal_compute
from core.paths import data_dir
from core.text.batches import split_ids
from core.text.corpora import load_corpus
from core.text.tokenizers import CharTokenizer
from core.training.scaling_law import BUDGETS

text = load_corpus("shakespeare", data_dir())[:200_000]  # or your own: open("my_diary.txt", encoding="utf-8").read()
tokenizer = CharTokenizer.from_text(text)
train_ids, val_ids = split_ids(torch.tensor(tokenizer.encode(text)), 0.1)
SEED = 1337  # with another one, losses that stay in their order differ by more than chance
for progress in train_at_equal_compute(train_ids, val_ids, tokenizer.vocab_size, SEED):
    runs = progress.result
for place, share in enumerate(BUDGETS):
    losses = [f"{run.size} {run.loss:.3f}" for run in runs[place * len(SIZES) : (place + 1) * len(SIZES)]]
    print(f"{share:4.0%} of the budget: {'  '.join(losses)}  best: {best_size(runs, place).size}")

# %% prediction
from core.lessons.equal_compute import train_next_size

for progress in train_next_size(runs, train_ids, val_ids, tokenizer.vocab_size, SEED):
    outcome = progress.result
predicted, trained = outcome
print(f"{trained.size}: predicted {predicted.value:.3f} (90%: {predicted.low:.3f} to {predicted.high:.3f})")
print(f"{trained.size}: trained   {trained.loss:.3f}, {trained.loss - predicted.value:+.3f} off")

# %% law
from core.lessons.equal_compute import factor_of_term
from core.training.scaling_law import law_of

law = law_of(runs)
alpha, beta = law.exponent_intervals()
print(f"loss = {law.coefficients[0]:.2f} + A / N^{alpha.value:.2f} + B / D^{beta.value:.2f}")
print(f"with 90%, alpha is {alpha.low:.2f} to {alpha.high:.2f} and beta {beta.low:.2f} to {beta.high:.2f}")
print(f"four times the parameters multiply A / N^alpha by {factor_of_term(alpha.value, 4):.2f}")
