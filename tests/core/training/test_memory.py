"""Freed memory is kept by a process that trains."""

import subprocess
import sys

SCRIPT = """
import resource, sys
import torch
from core.training.memory import keep_freed_memory
if "keep" in sys.argv:
    keep_freed_memory()
for _ in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_a_tensor_of_the_same_size_needs_no_new_pages():
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, check=True).stdout)
        for words in (["keep"], [])
    )
    assert kept < given_back / 10 or not sys.platform.startswith("linux")
