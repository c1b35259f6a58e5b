"""Freed memory is kept by a process that trains."""

import subprocess
import sys

SCRIPT = """
import resource
import torch
from core.fast.threads import keep_freed_memory

def new_pages():
    for _ in range(12):  # the first few find places among others
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(16_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(new_pages())
keep_freed_memory()
print(new_pages())
"""


MEASURING = """
import resource
import torch
from core.config import ModelConfig, RunConfig, TrainConfig
from core.fast.threads import keep_freed_memory
from core.training.trainer import Trainer
keep_freed_memory()
config = RunConfig(
    model=ModelConfig(n_layer=1, n_head=1, n_embd=8, block_size=64),
    train=TrainConfig(batch_size=1, eval_windows=24, device="cpu", precision="float32"),
)
ids = torch.arange(20_000) % 50_000
trainer = Trainer(config, ids, ids, 50_000)
for _ in range(6):  # likewise
    trainer.train_step()
for measure in (trainer.evaluate, trainer.health):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    measure()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_measuring_on_many_windows_takes_no_more_memory_than_on_a_few():
    printed = subprocess.run([sys.executable, "-c", MEASURING], capture_output=True, check=True).stdout
    for grown in printed.split():
        kilobytes = int(grown) / (1 if sys.platform.startswith("linux") else 1024)
        assert kilobytes < 4 * 2 * 64 * 50_000 * 4 / 1024  # the logits of two windows at once, and three copies


def test_a_tensor_of_the_same_size_needs_no_new_pages():
    printed = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True).stdout
    released, retained = map(int, printed.split())
    assert retained < released / 10 or not sys.platform.startswith("linux")
