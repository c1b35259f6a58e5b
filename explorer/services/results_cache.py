"""Results computed from a model, kept as long as the model is: drawing a page again computes nothing again."""

import threading
from collections.abc import Callable, Hashable
from typing import TypeVar
from weakref import WeakKeyDictionary

from cachetools import LRUCache

from core.model import GPT, Bigram

MOST_RESULTS = 24  # for each model

Result = TypeVar("Result")
_results: WeakKeyDictionary[GPT | Bigram, LRUCache] = WeakKeyDictionary()
_lock = threading.Lock()


def result_for(model: GPT | Bigram, key: Hashable, make: Callable[[], Result]) -> Result:
    """Return the result of `make`, called once for a model and key in all sessions. Do not change it."""
    with _lock:
        results = _results.setdefault(model, LRUCache(MOST_RESULTS))
        if key in results:
            return results[key]
    made = make()
    with _lock:
        results[key] = made
    return made
