"""Fixtures: a small transformers GPT-2 with random weights, and a byte-pair tokenizer of a few sentences."""

import pytest
import torch
from tokenizers.implementations import ByteLevelBPETokenizer
from transformers import GPT2Config, GPT2LMHeadModel

TEXT = (
    "To be, or not to be: that is the question.\n"
    "Whether 'tis nobler in the mind to suffer\n\n"
    "The slings — and arrows…\n"
)


@pytest.fixture(scope="session")
def theirs():
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=300, n_positions=32, n_embd=48, n_layer=3, n_head=4, bos_token_id=None, eos_token_id=None,
        attn_implementation="eager",
    )  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():  # biases start at zero, which would hide whether they are read
        for parameter in model.parameters():
            parameter.normal_(std=0.15)
    return model


@pytest.fixture(scope="session")
def bpe_folder(tmp_path_factory):
    """Return a folder with vocab.json and merges.txt, the files of GPT-2 on the hub."""
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator([TEXT] * 4, vocab_size=300, min_frequency=1, show_progress=False)
    folder = tmp_path_factory.mktemp("bpe")
    tokenizer.save_model(str(folder))
    return folder


@pytest.fixture
def gpt2_folder(theirs, bpe_folder, tmp_path):
    folder = tmp_path / "small-gpt2"
    theirs.save_pretrained(folder)
    for file in bpe_folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder
