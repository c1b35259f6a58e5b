"""A part is added in the files that docs/adding-a-part.md names: toy parts in a copy of `core`, others by tables."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from core.config import DataConfig, TrainConfig
from core.lessons.experiments import EXPERIMENTS
from core.sweeps.search import _NEXT
from core.sweeps.space import METHODS, OFFERED, MethodName
from core.text.tokenizers import TOKENIZERS
from core.training.optimizers import OPTIMIZERS
from explorer.look_inside.frames import PARTS
from explorer.look_inside.time_machine_views import VIEWS

ROOT = Path(__file__).parent.parent
WORDS = ROOT / "core" / "lessons" / "text" / "en" / "break"

LOWER = '''
class LowerTokenizer(CharTokenizer):
    """Characters without capitals."""

    name: ClassVar[str] = "lower"

    @classmethod
    def from_text(cls, text):
        return super().from_text(text.lower())

    def encode_array(self, text, dtype=np.int64):
        return super().encode_array(text.lower(), dtype)

    def save(self, path):
        write_atomically(path, json.dumps({"type": self.name, "tokens": self.tokens}).encode())


Tokenizer = '''
SGD = """
def sgd(parameters, config):
    groups = [{"params": list(parameters.values()), "rate": "learning_rate"}]
    return [torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9)]


OPTIMIZERS: """
DONE = """from core.runs.engines.engine import LocalEngine


class DoneEngine(LocalEngine):
    def submit(self, home, folder, status):
        folder.write_status(status.end("finished"))
"""
TOYS = {  # for each file, old text and its replacement
    "tokenizer": {
        "core/text/tokenizers.py": {
            "\nTokenizer = ": LOWER,
            "ByteTokenizer, BPETokenizer)}": "ByteTokenizer, BPETokenizer, LowerTokenizer)}",
        },
        "core/config.py": {'Literal["char", "byte", "bpe"]': 'Literal["char", "byte", "bpe", "lower"]'},
    },
    "optimizer": {
        "core/training/optimizers.py": {"\nOPTIMIZERS: ": SGD, '"muon": muon,': '"muon": muon, "sgd": sgd,'},
        "core/config.py": {'optimizer: Literal["adamw", "muon"]': 'optimizer: Literal["adamw", "muon", "sgd"]'},
    },
    "attention variant": {
        "core/model_config.py": {
            "    attention_scale: bool": '    attention_gain: bool = setting(False, "Double z.", label="Gain")\n'
            "    attention_scale: bool"
        },
        "core/model/self_attention.py": {'"hook_z", z)': '"hook_z", (1 + self.config.attention_gain) * z)'},
        "core/fast/decode.py": {"(x, z.reshape(": "(x, (1 + config.attention_gain) * z.reshape("},
    },
    "experiment": {
        "core/lessons/experiments.py": {
            '        Experiment("mask"': '        Experiment("gain", {"model.attention_gain": True}),\n'
            '        Experiment("mask"'
        },
        "core/lessons/text/en/break/gain.md": {"": (WORDS / "mask.md").read_text("utf-8")},
    },
    "setting": {
        "core/config.py": {
            "    grad_clip: float": '    loss_scale: float = setting(1.0, "Scale of the loss.", label="Scale", '
            "bounds=(0.0, 2.0))\n    grad_clip: float"
        },
        "core/training/trainer.py": {"minimized.backward()": "(minimized * config.loss_scale).backward()"},
    },
    "search method": {
        "core/sweeps/space.py": {
            'Literal["tpe", "random", ': 'Literal["tpe", "highest", "random", ',
            '    "random": Method(': '    "highest": Method("Highest", "takes the highest"),\n    "random": Method(',
        },
        "core/sweeps/search.py": {
            "def _next_of_tpe(": "def _highest(record, results, before, rng):\n"
            "    return {each.path: max(each.grid()) for each in record.dimensions}\n\n\ndef _next_of_tpe(",
            '"random": _next_at_random,': '"random": _next_at_random, "highest": _highest,',
        },
    },
    "engine": {
        "core/runs/engines/done.py": {"": DONE},
        "core/runs/engines/engine.py": {
            "    return LocalEngine()": '    if os.environ.get("GPT_EXPLORER_DONE"):\n'
            "        from core.runs.engines.done import DoneEngine\n\n"
            "        return DoneEngine()\n"
            "    return LocalEngine()"
        },
        "core/cli/arguments.py": {
            'choices=("local", "ray")': 'choices=("local", "ray", "done")',
            '    if options.engine == "local":': '    if options.engine == "done":\n'
            '        os.environ["GPT_EXPLORER_DONE"] = "1"\n'
            '    if options.engine in ("local", "done"):',
        },
    },
    "gallery model": {
        "core/runs/gallery.py": {
            '    "gallery-induction": ("': '    "gallery-toy": ("Toy", preset("bigram").replace({"train.steps": 3})),\n'
            '    "gallery-induction": ("'
        },
    },
}
USE = """
import os
import torch
from argparse import ArgumentParser
from pathlib import Path
from core.cli.arguments import add_engine, choose_engine, new_supervisor
from core.config import RunConfig
from core.fast.decode import Decoder
from core.import_export.layouts import GPT2
from core.lessons.experiments import EXPERIMENTS
from core.lessons.lesson_text import load_prose
from core.lessons.paired_runs import make_pair
from core.paths import made_data_dir
from core.presets import preset
from core.runs.folder import RunFolder
from core.runs.gallery import RECIPES, make_model
from core.sweeps.folder import planned
from core.sweeps.search import next_point
from core.sweeps.space import parse_dimension
from core.text.tokenizers import TOKENIZERS, load_tokenizer
from core.training.cost import memory_needed
from core.training.trainer import Trainer
from core.training.work import work_of_update

config = preset("gpt-tiny").replace({
    "data.tokenizer": "lower", "train.optimizer": "sgd", "model.attention_gain": True, "model.n_layer": 1,
    "model.n_embd": 16, "model.block_size": 8, "train.batch_size": 4, "train.warmup_steps": 0,
})
assert RunConfig.model_validate_json(config.model_dump_json()) == config

text = "Have you a Mind to sink? " * 60
tokenizer = TOKENIZERS[config.data.tokenizer].from_text(text)
tokenizer.save(Path("tokenizer.json"))
assert type(load_tokenizer(Path("tokenizer.json"))) is type(tokenizer)
assert memory_needed(config, tokenizer.vocab_size) > 0
assert work_of_update(config.model, tokenizer.vocab_size, "sgd").numbers_moved > 0

ids = torch.tensor(tokenizer.encode_array(text))
trainer = Trainer(config, ids, ids, tokenizer.vocab_size, "cpu", "float32")
before = [parameter.clone() for parameter in trainer.model.parameters()]
trainer.train_step()
assert any(not torch.equal(*pair) for pair in zip(before, trainer.model.parameters()))

model, prompt = trainer.model.eval(), ids[:6]
explicit, _ = model(prompt[None], hook=lambda name, tensor: None)
torch.testing.assert_close(model(prompt[None])[0], explicit)
decoder = Decoder(model)
decoder.read(prompt[:1].tolist())
for id in prompt[1:].tolist():
    logits = decoder.step(id)
torch.testing.assert_close(logits, explicit[0, -1])
assert "attention_gain=True" in GPT2.obstacles(config.model)

still = Trainer(config.replace({"train.loss_scale": 0.0}), ids, ids, tokenizer.vocab_size, "cpu", "float32")
assert still.train_step().grad_norm == 0
assert make_model(Path("gallery-toy"), *RECIPES["gallery-toy"]).status().step == 3

sweep = planned(preset("bigram"), [parse_dimension("train.batch_size=4,8")], "highest")
assert next_point(sweep, []) == {"train.batch_size": 8} and not sweep.prune

os.environ["GPT_EXPLORER_HOME"] = "home"
add_engine(parser := ArgumentParser())
choose_engine(parser.parse_args(["--engine", "done"]))
run, supervisor = RunFolder.create(made_data_dir(Path("home")), config), new_supervisor()
supervisor.submit(run)
supervisor.check()
assert run.status().state == "finished"

pair = make_pair(EXPERIMENTS["gain"], text * 20, steps=1)
assert pair.treatment.train_step().loss and load_prose("break", "gain")
"""


def counted(part: str) -> int:
    """Return how many source files the document says that a part touches."""
    row = re.search(rf"^\| {part} \| (\d+)", (ROOT / "docs" / "adding-a-part.md").read_text("utf-8"), re.MULTILINE)
    return int(row[1])


@pytest.mark.parametrize("part", TOYS)
def test_the_document_names_and_counts_the_files_to_change_for_each_part(part):
    assert counted(part) == len(TOYS[part])
    document = (ROOT / "docs" / "adding-a-part.md").read_text("utf-8")
    section = re.search(rf"^## An? {part}\n(.*?)(?=^## |\Z)", document, re.MULTILINE | re.DOTALL)[1]
    for file in TOYS[part]:
        assert file in section or f"{Path(file).parent}/`" in section, f"the section on a {part} does not name {file}"


def test_a_toy_of_each_part_can_be_added_configured_and_trained(tmp_path):
    shutil.copytree(ROOT / "core", tmp_path / "core")
    for replacements in TOYS.values():
        for file, changes in replacements.items():
            path = tmp_path / file
            text = path.read_text("utf-8") if path.exists() else ""
            for old, new in changes.items():
                assert text.count(old) == 1, f"{file} has no single place for {old!r}"
                text = text.replace(old, new)
            path.write_text(text, "utf-8")
    done = subprocess.run([sys.executable, "-c", USE], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_choice_comes_from_its_table():
    assert set(get_args(DataConfig.model_fields["tokenizer"].annotation)) == set(TOKENIZERS)
    assert set(get_args(TrainConfig.model_fields["optimizer"].annotation)) == set(OPTIMIZERS)
    assert get_args(MethodName) == tuple(METHODS) and set(_NEXT) == set(OFFERED)
    assert set(EXPERIMENTS) == {path.stem for path in WORDS.glob("*.md")} - {"lesson", "guide"}


def test_every_page_is_in_the_navigation_table():
    tree = ast.parse((ROOT / "explorer" / "navigation.py").read_text("utf-8"))
    (table,) = (
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "GROUPS"
    )
    names = {key.value for group in table.values for key in group.keys}
    assert names == {path.stem for path in (ROOT / "pages").glob("*.py")}


def test_every_view_of_the_time_machine_has_a_frame_part_and_a_drawing_function():
    script = (ROOT / "assets" / "components" / "time_machine" / "view.js").read_text("utf-8")
    drawn = set(re.search(r"const VIEWS = \{([^}]*)\}", script)[1].replace(" ", "").split(","))
    assert {view.name for view in VIEWS} <= drawn
    assert {view.part for view in VIEWS} <= set(PARTS)
