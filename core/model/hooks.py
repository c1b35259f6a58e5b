"""The one way to look into a forward pass, or to change it: a plain function called at named points.

The names are TransformerLens's (`blocks.0.attn.hook_pattern`). Recording, ablation and the logit lens are all taps.
"""

from collections.abc import Callable

from torch import Tensor

Hook = Callable[[str, Tensor], Tensor | None]
"""Called with a point's name and its tensor; what it returns, if anything, takes the tensor's place."""


def hook_point(hook: Hook | None, name: str, tensor: Tensor) -> Tensor:
    """Show a tensor to the tap, if there is one, and go on with what it returns."""
    if hook is None:
        return tensor
    replacement = hook(name, tensor)
    return tensor if replacement is None else replacement


def scoped(hook: Hook | None, scope: str) -> Hook | None:
    """The same tap, seen from inside a part of the model: every name gets `scope.` in front."""
    if hook is None:
        return None
    return lambda name, tensor: hook(f"{scope}.{name}", tensor)
