import os
import re
import subprocess
import sys

import pytest
import torch

from core.errors import ExplorerError
from core.training.hardware import find_hardware


def test_what_was_found_is_said_in_a_sentence():
    found = find_hardware()
    assert found.device in ("cuda", "mps", "cpu")
    assert found.name in found.sentence
    assert found.sentence.endswith("memory.") or "shared with" in found.sentence
    assert found.cores >= 1
    assert found.memory_bytes > 2**28
    assert found.versions["torch"] == torch.__version__


def test_without_a_gpu_it_says_so_and_what_follows():
    found = find_hardware("cpu")
    assert found.device == "cpu"
    assert f"{found.cores} core" in found.sentence
    mps = torch.backends.mps.is_available()
    told = told_without_cuda("print(find_hardware().sentence)", "print(find_hardware('cpu') == find_hardware())")
    expected = "This trains on Apple's GPU: " if mps else "No GPU found, so this trains on the processor: "
    assert told.startswith(expected)
    assert told.endswith(f"{not mps}\n")


def test_a_device_that_is_not_there_is_an_error_that_says_what_to_do():
    told = told_without_cuda(
        "from core.errors import ExplorerError",
        "try: find_hardware('cuda')",
        "except ExplorerError as error: print(error)",
    )
    assert re.search("an NVIDIA GPU, but .* Set the device to auto", told)
    with pytest.raises(ExplorerError, match="a device called 'tpu'"):
        find_hardware("tpu")


def told_without_cuda(*lines: str) -> str:
    """What a Python of its own prints that can see no NVIDIA GPU, whatever this machine has."""
    script = "\n".join(["from core.training.hardware import find_hardware", *lines])
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run([sys.executable, "-c", script], env=hidden, capture_output=True, text=True, check=True).stdout
