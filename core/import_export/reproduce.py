"""A run as a recipe: a short script, or a notebook, that trains it again next to `core`.

Whoever has the file needs neither the app nor the run: the settings, the knobs turned, and what its text must be are
written in it. What it learned is not, so it is short, and open to change.
"""

from typing import Any, NamedTuple

from core.config import RunConfig
from core.import_export.literals import literal
from core.import_export.notebooks import Cell, code, prose, to_notebook, to_script


class Stage(NamedTuple):
    """One training in a row: a fork's recipe begins with its parent's."""

    config: RunConfig  # as it began
    sha256: str  # of the text
    turns: tuple[tuple[int, str, Any], ...]  # step, knob and value, in the order of effect
    until: int  # the step to end at
    measured: dict[int, float]  # validation losses that the run had, by step
    precision: str  # float32 or bfloat16
    threads: int  # of the processor


class Recipe(NamedTuple):
    """All that is needed to train a run again."""

    name: str  # of the run: a label by anybody
    stages: tuple[Stage, ...]  # the last one is the run itself
    made_with: dict[str, str]  # the machine and the libraries whose sums it was made of
    given: bool = False  # its first weights cannot be trained again: they come from the run's own folder


def recipe_script(recipe: Recipe) -> str:
    """One file of Python that trains the run again, and says whether it came out the same."""
    return to_script(_cells(recipe, _SCRIPT))


def recipe_notebook(recipe: Recipe) -> str:
    """The same as a Jupyter notebook."""
    return to_notebook(_cells(recipe, _NOTEBOOK))


class _Form(NamedTuple):
    """What a script and a notebook do differently."""

    how: str  # to use it, in words
    here: str  # the folder it lies in, as an expression
    files: str  # texts handed over, as an expression


_SCRIPT = _Form(
    "Put this file next to the folder `core` of GPT Explorer, and start it with the Python of that lab. Where the lab "
    "does not know the text, hand its file over: the name of this script, then the name of the file.",
    "Path(__file__).resolve().parent",
    "sys.argv[1:]",
)
_NOTEBOOK = _Form(
    "Put this notebook next to the folder `core` of GPT Explorer, and run all its cells with the Python of that lab. "
    "Where the lab does not know the text, write the name of its file into `TEXT_FILES`.",
    "Path.cwd()",
    '[]  # for example ["my_diary.txt"]',
)


def _cells(recipe: Recipe, form: _Form) -> list[Cell]:
    return [
        prose(f"# A run of GPT Explorer, trained again\n\n{form.how}"),
        code(_IMPORTS.replace("HERE_IS", form.here)),
        prose(
            "What the run is: its settings, the knobs turned on the way, and what its losses were."
            + _GIVEN * recipe.given
        ),
        code(_facts(recipe, form.files)),
        prose("The text has to be the very same one, to the last character: its SHA-256 tells."),
        code(_TEXT),
        prose("The training, one step at a time. Change what you like: this is where to try things out."),
        code(_TRAIN),
        prose("Now do it. Every measured loss stands beside the one that the run had at that step."),
        code(_RUN),
        prose("What it writes, and the weights for later: `core.training.checkpoints.load_weights` reads them."),
        code(_WRITE),
    ]


def _facts(recipe: Recipe, files: str) -> str:
    stages = [stage._asdict() | {"config": stage.config.model_dump(mode="json")} for stage in recipe.stages]
    start = 'START = HERE / "start.safetensors"' if recipe.given else "START = None  # weights to begin with"
    facts = {"NAME": recipe.name, "MADE_WITH": recipe.made_with, "STAGES": stages}
    return "\n".join([*(f"{name} = {literal(value)}" for name, value in facts.items()), f"TEXT_FILES = {files}", start])


_GIVEN = (
    "\n\nIt began with weights that cannot be trained again from here. Put `start.safetensors` and `tokenizer.json` "
    "beside this file; both are in the run's own folder, which Download on the page Runs has."
)

_IMPORTS = """
import sys
from pathlib import Path

HERE = HERE_IS
for place in (HERE, *HERE.parents):  # the lab: the folder that holds `core`
    if (place / "core" / "config.py").is_file():
        sys.path.insert(0, str(place))
        break

import torch

from core.config import RunConfig
from core.errors import TextError
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.paths import data_dir
from core.text.batches import split_ids
from core.text.corpora import load_corpus, text_hash
from core.text.own_text import read_text
from core.text.tokenizers import CharTokenizer, load_tokenizer, opening_ids
from core.training.checkpoints import load_weights, save_weights
from core.training.hardware import find_hardware
from core.training.trainer import Trainer
"""

_TEXT = '''
def text_of(stage):
    """The text that this stage learned from."""
    for file in TEXT_FILES:
        text = read_text(Path(file).read_bytes())
        if text_hash(text) == stage["sha256"]:
            return text
    try:
        text = load_corpus(stage["config"]["data"]["corpus"], data_dir())
    except TextError as error:
        raise SystemExit(f"{error} Hand its file over in TEXT_FILES.") from None
    if text_hash(text) != stage["sha256"]:
        raise SystemExit("The text of that name here is not the one the run learned from. Hand over the right file.")
    return text
'''

_TRAIN = '''
def train(stage, tokenizer, before=None):
    """Train one stage to its end, and return its trainer; `before` is the one whose weights it begins with."""
    config = RunConfig.parse(stage["config"])
    torch.set_num_threads(stage["threads"])
    ids = torch.from_numpy(tokenizer.encode_array(text_of(stage)))
    train_ids, val_ids = split_ids(ids, config.data.val_fraction)
    device = find_hardware(config.train.device).device
    trainer = Trainer(config, train_ids, val_ids, tokenizer.vocab_size, device, stage["precision"])
    if before:
        trainer.model.load_state_dict(before.model.state_dict())
    elif START:
        load_weights(START, trainer.model)
    while True:
        for step, knob, value in stage["turns"]:
            if step == trainer.step:
                trainer.change_setting(knob, value)
        if trainer.step in stage["measured"]:
            loss, theirs = trainer.evaluate().val_loss, stage["measured"][trainer.step]
            print(f"step {trainer.step:6d}   validation loss {loss:.4f}   the run had {theirs:.4f}")
        if trainer.step >= stage["until"]:
            return trainer
        trainer.train_step()
'''

_RUN = """
if START:
    tokenizer = load_tokenizer(START.with_name("tokenizer.json"))
else:
    tokenizer = CharTokenizer.from_text(text_of(STAGES[0]))
trainer = None
for stage in STAGES:
    trainer = train(stage, tokenizer, trainer)

step, theirs = max(STAGES[-1]["measured"].items(), default=(0, None))
if step == trainer.step:
    loss = trainer.evaluate().val_loss
    print(f"{NAME}: validation loss {loss!r} here, {theirs!r} then.")
    if loss == theirs:
        print("The same to the last bit.")
    else:
        print("The last digits depend on the machine and the libraries. It was made with", MADE_WITH)
"""

_WRITE = """
how = GenerationConfig(max_new_tokens=300, temperature=0.8)
print(tokenizer.decode([token.id for token in generate(trainer.model, opening_ids(tokenizer), how)]))
save_weights(HERE / "retrained.safetensors", trainer.model, trainer.step)
"""
