"""The one way to look into a forward pass, or to change it: a plain function called at named points.

The names are TransformerLens's (`blocks.0.attn.hook_pattern`). Recording, ablation and the logit lens are all taps.
"""

from collections.abc import Callable

from torch import Tensor

Tap = Callable[[str, Tensor], Tensor | None]
"""Called with a point's name and its tensor; what it returns, if anything, takes the tensor's place."""


def touch(tap: Tap | None, name: str, tensor: Tensor) -> Tensor:
    """Show a tensor to the tap, if there is one, and go on with what it returns."""
    if tap is None:
        return tensor
    replacement = tap(name, tensor)
    return tensor if replacement is None else replacement


def within(tap: Tap | None, scope: str) -> Tap | None:
    """The same tap, seen from inside a part of the model: every name gets `scope.` in front."""
    if tap is None:
        return None
    return lambda name, tensor: tap(f"{scope}.{name}", tensor)
