import pytest
import torch

from core.config import ModelConfig
from core.interpretability.activations import as_row, compute_logits
from core.model import build_model

VOCAB_SIZE = 11

SWITCHES = [  # every setting that changes the logits, except `residual` and `post_norm`
    {},
    {"bias": True},
    {"tie_weights": False},
    {"causal": False},
    {"attention_scale": False},
    {"feed_forward": False},
    {"qk_norm": True},
    {"bigram_start": True},
    {"zero_init": True},
    {"n_kv_head": 1},
    {"token_shift": True},
    {"attention_window": 3, "position": "alibi"},
    {"attention_sink": True},
    {"gated_attention": True, "n_kv_head": 1},
    {"mixture_of_experts": True, "bias": True},
    *({"norm": norm} for norm in ("rms", "none")),
    *({"position": position} for position in ("sinusoidal", "rope", "none")),
    *({"activation": activation} for activation in ("relu", "relu2", "swiglu")),
    {
        "qk_norm": True,
        "position": "rope",
        "norm": "rms",
        "activation": "relu2",
        "bigram_start": True,
        "zero_init": True,
    },
]


def make(**changes):
    """Build a small model with weights so large that attention is far from uniform, and with nonzero biases."""
    torch.manual_seed(0)
    config = ModelConfig(**{"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 12} | changes)
    model = build_model(config, VOCAB_SIZE).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)
            else:
                parameter.add_(torch.randn_like(parameter) / 4)
    if config.bigram_start and config.kind == "gpt":
        model.start_from_counts(torch.randint(VOCAB_SIZE, (400,)))
    return model


def run_with_hooks(model, ids, edits=None):
    """The logits (T, V), with the tensors at some hook points replaced by functions of them."""
    hook = (lambda name, tensor: edits[name](tensor) if name in edits else None) if edits else None
    return compute_logits(model, as_row(model, ids), hook)[0].numpy()


@pytest.fixture
def gpt():
    return make()


@pytest.fixture
def bigram():
    return make(kind="bigram")
