# %% [markdown]
# # A run of GPT Explorer, trained again

# %%
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
from core.text.corpora import load_corpus, text_hash
from core.text.own_text import read_text
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
START = None  # weights to begin with

# %% [markdown]
# The text must be the same to the last character: its SHA-256 is compared.


# %%
def text_of(stage):
    """Return the training text of a stage."""
    for file in TEXT_FILES:
        text = read_text(Path(file).read_bytes())
        if text_hash(text) == stage["sha256"]:
            return text
    try:
        text = load_corpus(stage["config"]["data"]["corpus"], data_dir())
    except TextError as error:
        raise SystemExit(f"{error} Give its file in TEXT_FILES.") from None
    if text_hash(text) != stage["sha256"]:
        raise SystemExit("The text of that name differs from the run's. Give the right file in TEXT_FILES.")
    return text


# %% [markdown]
# The training, one step at a time. Change what you like here.


# %%
def train(stage, tokenizer, before=None):
    """Train one stage to its end, and return its trainer; it begins with the weights of the trainer `before`."""
    config = RunConfig.parse(stage["config"])
    torch.set_num_threads(stage["threads"])
    ids = torch.from_numpy(tokenizer.encode_array(text_of(stage)))
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
