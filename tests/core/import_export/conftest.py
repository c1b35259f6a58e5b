"""A small GPT-2 with random weights as transformers makes it, and a byte-pair tokenizer grown on a few sentences."""

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
    with torch.no_grad():  # biases begin at zero, where nothing would tell whether they were read
        for parameter in model.parameters():
            parameter.normal_(std=0.15)
    return model


@pytest.fixture(scope="session")
def bpe_folder(tmp_path_factory):
    """vocab.json and merges.txt, as GPT-2's lie on the hub."""
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
