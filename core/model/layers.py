"""Building blocks of the models: hook points, dropout, norms, nonlinearities."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from core.config import ModelConfig

CPU_LIKE_DEVICES = ("cpu", "meta")  # devices with the CPU's code paths; `core.training.work` counts on meta

Hook = Callable[[str, Tensor], Tensor | None]
"""A function called with a hook point's name (TransformerLens's, `blocks.0.attn.hook_pattern`) and the tensor there.
What it returns, if anything, replaces the tensor: activations, ablation and the logit lens are all hooks.
"""


def hook_point(hook: Hook | None, name: str, tensor: Tensor) -> Tensor:
    """Call the hook, if there is one, with a tensor; return its replacement, or else the tensor itself."""
    if hook is None:
        return tensor
    replacement = hook(name, tensor)
    return tensor if replacement is None else replacement


def scoped(hook: Hook | None, scope: str) -> Hook | None:
    """Return a hook for a part of the model, which prefixes every name with `scope.`."""
    if hook is None:
        return None
    return lambda name, tensor: hook(f"{scope}.{name}", tensor)


class Dropout(nn.Dropout):
    """Dropout (Srivastava 2014) like PyTorch's, with a faster mask on the CPU.

    A CPU draws random numbers one after the other. Here one draw decides on four values, with sixteen bits each, which
    takes a fifth of the time. The probability is then the nearest multiple of 1/65536.
    """

    # pyrefly: ignore[bad-override-param-name]
    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.p) or x.device.type not in CPU_LIKE_DEVICES:
            return super().forward(x)
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        bits = draws.view(torch.int16)[: x.numel()].view(x.shape)  # each uniform from -2**15 to 2**15 - 1
        dropped = round(self.p * 2**16)
        return x * ((bits >= dropped - 2**15).to(x.dtype) * (2**16 / (2**16 - dropped)))


Norm = nn.LayerNorm | nn.RMSNorm | nn.Identity


def layer_norm(config: ModelConfig) -> nn.LayerNorm:
    """Return GPT-2's normalization of each token's vector: mean 0, variance 1, then a gain (Ba 2016)."""
    return nn.LayerNorm(config.n_embd, bias=config.bias)


def rms_norm(config: ModelConfig) -> nn.RMSNorm:
    """Return the normalization of each token's vector to root mean square 1, then a gain (Zhang 2019)."""
    return nn.RMSNorm(config.n_embd, eps=1e-5)


NORMS: dict[str, Callable[[ModelConfig], Norm]] = {
    "layer": layer_norm,
    "rms": rms_norm,
    "none": lambda _config: nn.Identity(),
}


def swiglu(hidden: Float[Tensor, "*A N"]) -> Float[Tensor, "*A N//2"]:
    """Return one half of the channels multiplied by the gate that the other half makes (Shazeer 2020)."""
    gate, value = hidden.chunk(2, dim=-1)
    return F.silu(gate) * value


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),  # GPT-2's own formula, so that its weights fit
    "swiglu": swiglu,
    "relu2": lambda hidden: F.relu(hidden).square(),  # Primer (So 2021)
}
GATED = ("swiglu",)  # activations that read twice the width and return half of it
