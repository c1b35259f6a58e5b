"""The code of the notebook "Sudden_Abilities" by step, for `core.import_export.notebooks`; also a script."""

# %% induction
import torch

from core.lessons.phase_changes import first_step, induction_scores
from core.paths import data_dir
from core.presets import preset
from core.text.batches import split_ids
from core.text.corpora import load_corpus
from core.text.tasks import MODULUS, NUMBERS, answers_of
from core.text.tokenizers import CharTokenizer
from core.training.trainer import EvaluationEvent, Trainer


def trainer_of(config):
    text = load_corpus(config.data.corpus, data_dir())
    tokenizer = CharTokenizer.from_text(text)
    parts = split_ids(torch.from_numpy(tokenizer.encode_array(text)), config.data.val_fraction)
    return Trainer(config, *parts, tokenizer.vocab_size, answers=answers_of(config.data.corpus, tokenizer)), tokenizer


STEPS, EVERY = 300, 30
trainer, tokenizer = trainer_of(preset("induction").replace({"train.steps": STEPS, "train.eval_interval": EVERY}))
letters = torch.tensor([id for id, token in enumerate(tokenizer.tokens) if token.isalpha()])
for event in trainer.events():
    if isinstance(event, EvaluationEvent):
        for progress in induction_scores({event.step: trainer.model.eval()}, letters, tokenizer.tokens.index(" ")):
            score = progress.result[event.step]
        print(f"step {event.step:3}: validation loss {event.val_loss:.3f}, induction score {score:.0%}")

# %% grokking modulus=59 modulus_less=58
STEPS = 2400
trainer, tokenizer = trainer_of(preset("modular-addition").replace({"train.steps": STEPS}))
steps, known, understood = [], [], []
for event in trainer.events():
    if isinstance(event, EvaluationEvent):
        steps.append(event.step)
        known.append(event.train_accuracy)
        understood.append(event.val_accuracy)
        if event.step % 200 == 0:
            print(f"step {event.step:4}: {known[-1]:4.0%} of training sums right, {understood[-1]:4.0%} of the others")
print(f"memorized at step {first_step(steps, known, 0.99)}, half of the others at {first_step(steps, understood, 0.5)}")

# %% circle modulus=59 a=37 b=39
from core.interpretability.embeddings import fourier_components, token_embeddings
from core.lessons.phase_changes import remainder

rows = [tokenizer.tokens.index(number) for number in NUMBERS]
components = fourier_components(token_embeddings(trainer.model)[rows])
for frequency, share in enumerate(components.power, 1):
    print(f"frequency {frequency:2} {share:5.1%} {'█' * round(60 * float(share))}")
print(f"37 + 39 modulo {MODULUS} is {remainder(37, 39, MODULUS)}")
