"""Check the shapes in annotations, once for each combination of types and shapes.

Checking every call would add half of the time of a small model's training step.
"""

from collections.abc import Callable, Hashable
from functools import partial, wraps
from inspect import isfunction
from typing import Any

import jaxtyping
import numpy as np
from torch import Tensor, nn

_jaxtyped = jaxtyping.jaxtyped


def check_shapes(modules: list[str]) -> None:
    """Let the functions of modules that are imported from now on check the types and shapes of their calls."""
    jaxtyping.jaxtyped = checked_once  # which the hook puts before every function
    jaxtyping.install_import_hook(modules, "beartype.beartype")


def checked_once(function: Any = None, *, typechecker: Any) -> Any:
    """Decorate as `jaxtyping.jaxtyped`, but do not check again what was right with the same types and shapes."""
    if function is None:
        return partial(checked_once, typechecker=typechecker)
    checked = _jaxtyped(function, typechecker=typechecker)
    return _once(function, checked, typechecker) if isfunction(function) else checked


def _once(function: Callable[..., Any], checked: Callable[..., Any], typechecker: Any) -> Callable[..., Any]:
    right: set[Hashable] = set()

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = (*map(_kind, args), *kwargs, *map(_kind, kwargs.values()))
        if given not in right:
            result = checked(*args, **kwargs)
        else:
            result = function(*args, **kwargs)
            if (given, _kind(result)) not in right:
                _jaxtyped(wraps(function)(lambda *_args, **_kwargs: result), typechecker=typechecker)(*args, **kwargs)
        right.update((given, (given, _kind(result))))
        return result

    return call


def _kind(value: Any) -> Hashable:
    """Return what an annotation may ask for: types, shapes, and numbers that may be the length of an axis."""
    if isinstance(value, Tensor | np.ndarray):
        return type(value), value.dtype, value.shape
    if isinstance(value, int):
        return type(value), value
    if isinstance(value, tuple | list):
        return type(value), *map(_kind, value)
    if isinstance(value, nn.Module) or not hasattr(value, "__dict__"):
        return type(value)
    return type(value), *(number for number in vars(value).values() if type(number) is int)
