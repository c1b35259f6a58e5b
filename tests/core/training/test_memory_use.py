"""A training process keeps freed memory."""

import subprocess
import sys

# One process for both: importing torch takes nearly all of its time.
SCRIPT = """
import resource
import torch
from core.config import ModelConfig, RunConfig, TrainConfig
from core.fast.threads import keep_freed_memory
from core.training.trainer import Trainer

def new_pages():
    faults = []
    for _ in range(12):  # a freed piece may not do for the next one, if a small object took the bytes behind it
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(9_000_000)  # more than the largest piece that glibc keeps by itself, 32 MB
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return min(faults)

print(new_pages())
keep_freed_memory()
print(new_pages())

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


def test_freed_memory_is_reused_and_evaluation_memory_is_bounded_for_many_windows():
    printed = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True).stdout
    released, retained, *grown = map(int, printed.split())
    assert retained < released / 10 or not sys.platform.startswith("linux")
    assert len(grown) == 2
    for size in grown:
        kilobytes = size / (1 if sys.platform.startswith("linux") else 1024)
        assert kilobytes < 4 * 2 * 64 * 50_000 * 4 / 1024  # the logits of two windows, in four copies
