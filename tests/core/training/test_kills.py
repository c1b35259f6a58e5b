"""A process killed twenty times while saving always leaves a loadable checkpoint."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
KILLS = 20

# Importing torch in twenty processes would take a minute, so one imports it and forks the twenty.
KILLED_WHILE_SAVING = """
import json, os, random, signal, sys, time
from pathlib import Path
import torch
from core.config import ModelConfig, RunConfig, TrainConfig
from core.training.checkpoints import latest_checkpoint, load_checkpoint, newer_checkpoints, save_checkpoint
from core.training.trainer import Trainer

torch.set_num_threads(1)
folder, kills = Path(sys.argv[1]), int(sys.argv[2])
config = RunConfig(
    model=ModelConfig(n_layer=2, n_head=2, n_embd=64, block_size=8),
    train=TrainConfig(steps=10_000, batch_size=1, eval_windows=1),
)
ids = torch.arange(40) % 7
rng = random.Random(1337)


def trainer_that_goes_on():
    trainer = Trainer(config, ids, ids, vocab_size=7)
    if path := latest_checkpoint(folder):
        load_checkpoint(path, trainer)
        assert newer_checkpoints(folder, path) == 0  # nothing half written has the name of a save
    return trainer


def save_for_ever(ready):
    trainer = trainer_that_goes_on()
    while True:
        trainer.train_step()
        save_checkpoint(folder, trainer)
        os.write(ready, b".")


reached, unfinished = [], 0
for number in range(kills):
    reading, ready = os.pipe()
    child = os.fork()
    if child == 0:
        save_for_ever(ready)
    os.read(reading, 1)  # it has saved once, and is about to again
    if number % 2:
        time.sleep(rng.uniform(0, 0.02))  # anywhere
    else:
        while not (folder / ".tmp-checkpoint").exists():  # in the middle of writing
            pass
    os.kill(child, signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    os.close(reading), os.close(ready)
    unfinished += (folder / ".tmp-checkpoint").exists()
    reached.append(trainer_that_goes_on().step)
print(json.dumps({"reached": reached, "unfinished": unfinished, "files": len(list(folder.glob("step-*")))}))
"""


def test_twenty_kills_while_saving_always_leave_a_loadable_checkpoint(tmp_path):
    script = [sys.executable, "-c", KILLED_WHILE_SAVING, tmp_path, str(KILLS)]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert len(result["reached"]) == KILLS
    assert result["reached"] == sorted(set(result["reached"])), "a kill has cost a save that was already made"
    assert result["unfinished"] > KILLS // 4, "the kills did not come while it was saving"
    assert 2 <= result["files"] <= 3  # three if killed between the rename and the removal of the oldest
