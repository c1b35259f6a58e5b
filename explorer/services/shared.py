"""State that all sessions of one server share: the supervisor of training, opened models, the machine's speed."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from cachetools import LRUCache, cached

from core.config import RunConfig
from core.errors import ExplorerError, RunError
from core.model import GPT, Bigram, parameter_count
from core.paths import data_dir as server_dir
from core.runs import machine
from core.runs.engines.engine import engine_wanted
from core.runs.engines.fork_server import FORK_SERVER
from core.runs.folder import RunFolder, list_runs, open_run
from core.runs.machine import threads_for_run, threads_per_run
from core.runs.records import RunRecord
from core.runs.supervisor import Supervisor
from core.runs.weights import find_weights, latest_weights, load_model
from core.sweeps.driver import SweepDriver
from core.text.tokenizers import Tokenizer
from core.training.cost import Estimate, MachineSpeed
from core.training.hardware import find_hardware
from core.training.speed import Choice
from explorer.i18n.language import _
from explorer.services.visitors import check_may_change, for_visitor
from explorer.services.visitors import visitor_dir as data_dir

__all__ = ["data_dir"]
_LARGE = 20_000_000  # parameters
MAX_MODELS = 4  # kept open at a time
MAX_RESULTS = 24  # for each model
Result = TypeVar("Result")


class Opened(NamedTuple):
    """A run's model, ready for inspection and generation. Shared by all sessions: never change it."""

    model: GPT | Bigram
    tokenizer: Tokenizer
    record: RunRecord
    step: int
    saved: int  # when these weights were saved, nanoseconds since 1970: a run that was rolled back saves a step again


# One lock for each resource: loading a model does not block a request that needs only the machine's speed.
_supervising, _opening, _measuring, _storing = (threading.Lock() for _ in range(4))
_supervisors: dict[Path, Supervisor] = {}
_drivers: dict[Path, SweepDriver] = {}
_models: LRUCache[tuple[Path, int], Opened] = LRUCache(MAX_MODELS)
_results: WeakKeyDictionary[GPT | Bigram, Callable] = WeakKeyDictionary()
_prefetching = ThreadPoolExecutor(1, thread_name_prefix="prefetch model")


def supervisor() -> Supervisor:
    """Return this process's supervisor of the data folder; start it on first use."""
    place = server_dir()
    with _supervising:
        if place not in _supervisors:
            _supervisors[place] = Supervisor(place, engine=engine_wanted())
            _supervisors[place].start()
            _drivers[place] = SweepDriver(_supervisors[place])
            _drivers[place].start()
        return _supervisors[place]


def supervisor_for_visitor() -> Supervisor:
    """Return the supervisor for a visitor's request; raises NotAllowed if the visitor may change nothing."""
    check_may_change()
    return supervisor()


def close() -> None:
    """Close the supervisors. Runs keep training."""
    with _supervising:
        while _drivers:
            _drivers.popitem()[1].close()
        while _supervisors:
            _place, ended = _supervisors.popitem()
            ended.close()
            ended.engine.close()


def open_model(run_id: str, step: int | None = None) -> Opened:
    """Return a run's model at its newest weights, or at a step. Raises RunError if they are missing or damaged."""
    folder = open_run(data_dir(), run_id)
    path = latest_weights(folder) if step is None or not folder.has_weights else weights_at(folder, step)
    if path is None:
        name = repr(folder.name)
        raise RunError(
            _("The run {name} has saved no weights yet. Its first are saved when training starts.", name=name)
        )
    try:
        key = (path, path.stat().st_mtime_ns)
    except FileNotFoundError:  # a training run deletes some snapshots to make room for later ones
        raise RunError(_("The weights of this step were deleted. Choose another step.")) from None
    with _opening:
        if key not in _models:
            loaded = load_model(folder, path)
            for old in [entry for entry in _models if entry[0] == path]:
                del _models[old]
            _models[key] = Opened(loaded.model, loaded.tokenizer, folder.record(), loaded.step, key[1])
        return _models[key]


def prefetch_model(run_id: str, step: int | None = None) -> None:
    """Start to open a model for a page that is loading, unless another is being opened; the page reports errors."""

    def opened() -> None:
        with suppress(ExplorerError, OSError):
            open_model(run_id, step)

    if not _opening.locked():
        _prefetching.submit(for_visitor(opened))


def weights_at(folder: RunFolder, step: int) -> Path:
    """Return the file with a step's weights. Raises RunError if the run has not kept them."""
    if path := find_weights(folder, step):
        return path
    values = {"name": repr(folder.name), "step": f"{step:,}"}
    raise RunError(_("The run {name} keeps no weights of step {step}. Choose another step.", **values))


def is_large(model: GPT | Bigram) -> bool:
    """Return whether a model takes tens of milliseconds per token, so that views compute less at once."""
    return parameter_count(model) > _LARGE


def measure_machine() -> None:
    """Measure this machine's training speed with one thread and with a run's threads, if not cached: a few seconds."""
    with _measuring:
        wanted = sorted({1, threads_per_run()})
        missing = [count for count in wanted if not machine.is_measured(server_dir(), find_hardware(), count)]
        if missing and not FORK_SERVER.measure(server_dir(), missing):
            for count in missing:
                machine.machine_speed(server_dir(), find_hardware(), count, again_if_busy=True)


def run_speed(config: RunConfig) -> MachineSpeed:
    """Return this machine's training speed with as many threads as a run with these settings would use.

    Measure it now if it never was.
    """
    count = threads_for_run(config, threads_per_run())
    with _measuring:
        return machine.machine_speed(server_dir(), find_hardware(), count)


def estimate_of(config: RunConfig, vocab_size: int, text_length: int = 0) -> Estimate:
    """Estimate the cost of a run on this machine if nothing else computes; see `contention_of` for what else does."""
    with _measuring:
        return machine.estimate_run(config, vocab_size, server_dir(), text_length)


def contention_of(config: RunConfig) -> float:
    """Return by what factor the programs of the last seconds slow a run with these settings.

    Runs that train now do not count: a further run waits for them, or has its own cores.
    """
    most = threads_per_run()
    ours = most * sum(run.status().state in ("starting", "running") for run in list_runs(server_dir()))
    return machine.contention_now(find_hardware(config.train.device), threads_for_run(config, most), ours)


def chosen_precision(config: RunConfig) -> Choice:
    """Return the number format that a run with these settings would compute in, and why."""
    count = threads_for_run(config, threads_per_run())
    with _measuring:
        return machine.run_precision(config, find_hardware(config.train.device), count, server_dir())


def result_for(model: GPT | Bigram, key: Hashable, make: Callable[[], Result]) -> Result:
    """Return the result of `make`, computed once for a model and key for all sessions. Do not change it."""
    with _storing:
        results = _results.setdefault(model, _new_results())
    return results(key, make)


def _new_results() -> Callable[[Hashable, Callable[[], Result]], Result]:
    """Return an empty cache: a function that calls `make` for a new key, and waits while another thread does."""
    return cached(LRUCache(MAX_RESULTS), key=lambda key, _make: key, condition=threading.Condition())(
        lambda _key, make: make()
    )
