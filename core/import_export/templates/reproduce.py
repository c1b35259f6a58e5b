# %% [markdown]
# # A run of GPT Explorer, trained again

# %%
import hashlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
for folder in (HERE, *HERE.parents):
    if (folder / "core" / "config.py").is_file():
        sys.path.insert(0, str(folder))
        break

import torch

from core.config import RunConfig
from core.errors import TextError
from core.paths import data_dir
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.text.batches import split_ids
from core.text.bpe import new_tokenizer
from core.text.corpora import load_corpus, load_hash, load_ids, text_hash
from core.text.large_text import is_large_text, save_large_text
from core.text.own_text import MAX_BYTES, read_text
from core.text.tasks import answers_of
from core.text.tokenizers import load_tokenizer, opening_ids
from core.training.checkpoints import load_weights, save_weights
from core.training.hardware import find_hardware
from core.training.trainer import Trainer

# %% [markdown]
# The run: its settings, the settings changed during training, and its losses.

# %%
NAME = ""
MADE_WITH = {}
STAGES = []
TEXT_FILES = sys.argv[1:]
START = None  # weights to start from

# %% [markdown]
# The text must be the same to the last character: its SHA-256 is compared. One too large to be held in memory is saved
# and tokenized once, and read from the file of its tokens.


# %%
def text_of(stage):
    """Return the training text of a stage; for a large text only its beginning."""
    for file in map(Path, TEXT_FILES):
        if file.stat().st_size > MAX_BYTES:
            save_large(file, stage["sha256"])
            continue
        text = read_text(file.read_bytes())
        if text_hash(text) == stage["sha256"]:
            return text
    corpus = stage["config"]["data"]["corpus"]
    needed = f"Give the file of the text with the SHA-256 {stage['sha256']} in TEXT_FILES."
    try:
        text = load_corpus(corpus, data_dir())
    except TextError as error:
        raise SystemExit(f"{error} {needed}") from None
    if load_hash(corpus, data_dir()) != stage["sha256"]:
        raise SystemExit(f"The text of that name differs from the run's. {needed}")
    return text


def save_large(file, sha256):
    """Save a large text under the name that the run uses, if it is the run's text."""
    with file.open("rb") as source:
        if hashlib.file_digest(source, "sha256").hexdigest() == sha256:
            source.seek(0)
            save_large_text(source, file.stem, data_dir())


def ids_of(stage, tokenizer):
    """Return the ids of the training text of a stage."""
    corpus, text = stage["config"]["data"]["corpus"], text_of(stage)
    return (
        load_ids(corpus, tokenizer, data_dir()) if is_large_text(corpus, data_dir()) else tokenizer.encode_array(text)
    )


# %% [markdown]
# The training, one step at a time. Change what you like here.


# %%
def train(stage, tokenizer, before=None):
    """Train one stage to its end, starting from the weights of the trainer `before`, and return its trainer."""
    config = RunConfig.parse(stage["config"])
    torch.set_num_threads(stage["threads"])
    ids = torch.from_numpy(ids_of(stage, tokenizer))
    train_ids, val_ids = split_ids(ids, config.data.val_fraction)
    device = find_hardware(config.train.device).device
    answers = answers_of(config.data.corpus, tokenizer)
    trainer = Trainer(config, train_ids, val_ids, tokenizer.vocab_size, device, stage["precision"], answers)
    if before:
        trainer.model.load_state_dict(before.model.state_dict())
    elif START:
        load_weights(START, trainer.model)
    while True:
        for step, setting, value in stage["setting_changes"]:
            if step == trainer.step:
                trainer.change_setting(setting, value)
        if trainer.step in stage["measured"]:
            loss, expected = trainer.evaluate().val_loss, stage["measured"][trainer.step]
            print(f"step {trainer.step:6d}   validation loss {loss:.4f}   in the run {expected:.4f}")
        if trainer.step >= stage["until"]:
            return trainer
        trainer.train_step()


# %% [markdown]
# Train all stages. Every validation loss is printed next to the run's own.

# %%
if START:
    tokenizer = load_tokenizer(START.with_name("tokenizer.json"))
else:
    data = RunConfig.parse(STAGES[0]["config"]).data
    tokenizer = new_tokenizer(data, text_of(STAGES[0]), data_dir())
trainer = None
for stage in STAGES:
    trainer = train(stage, tokenizer, trainer)

step, expected = max(STAGES[-1]["measured"].items(), default=(0, None))
if step == trainer.step:
    loss = trainer.evaluate().val_loss
    print(f"{NAME}: validation loss {loss!r} here, {expected!r} then.")
    if loss == expected:
        print("The same to the last bit.")
    else:
        print("The last digits depend on the machine and the libraries. It was made with", MADE_WITH)

# %% [markdown]
# Generate text, and save the weights: `core.training.checkpoints.load_weights` reads them.

# %%
settings = GenerationConfig(max_new_tokens=300, temperature=0.8)
print(tokenizer.decode([token.id for token in generate(trainer.model, opening_ids(tokenizer), settings)]))
save_weights(HERE / "retrained.safetensors", trainer.model, trainer.step)
