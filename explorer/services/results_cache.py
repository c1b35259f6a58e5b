"""What was found out about a model, kept as long as the model is: drawing a page again computes nothing again."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar
from weakref import WeakKeyDictionary

from core.model import GPT, Bigram

MOST_KEPT = 24  # results for each model

Result = TypeVar("Result")
_kept: WeakKeyDictionary[GPT | Bigram, OrderedDict[Hashable, object]] = WeakKeyDictionary()
_lock = threading.Lock()


def kept(model: GPT | Bigram, key: Hashable, make: Callable[[], Result]) -> Result:
    """What `make` returned for that model and key before, in any session, else what it returns now. Never change it."""
    with _lock:
        found = _kept.setdefault(model, OrderedDict())
        if key in found:
            found.move_to_end(key)
            return found[key]  # type: ignore[return-value]
    made = make()
    with _lock:
        found[key] = made
        while len(found) > MOST_KEPT:
            found.popitem(last=False)
    return made
