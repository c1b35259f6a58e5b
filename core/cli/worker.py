"""The process behind the app, which trains one run and ends."""

import faulthandler
import logging
import os
import select
import signal
import sys

from core.errors import ExplorerError
from core.paths import data_dir
from core.runs.folder import RunFolder, open_run

log = logging.getLogger(__name__)


def work(run_id: str) -> int:
    """Train one run, with all output in its log. Returns the exit code: 0 where the run ended as it should."""
    from core.fast.threads import keep_freed_memory
    from core.runs.machine import threads_per_run
    from core.runs.processes import not_ignored
    from core.runs.worker import StopRequest, train_run

    folder = open_run(data_dir(), run_id)
    keep_freed_memory()
    _redirect_output(folder)
    # On SIGTERM it saves and stops; the supervisor kills a process that does not.
    stop = StopRequest()
    for number in not_ignored(signal.SIGTERM):
        signal.signal(number, lambda *_: setattr(stop, "reason", "The system asked its process to end."))
    try:
        train_run(folder, data_dir(), threads=threads_per_run(), stop_request=stop)
    except Exception:
        log.exception("run %s failed", run_id)
        return 1
    return 0


def prewarm() -> int:
    """Import and compile everything, then wait on standard input for one run id. Ends when its supervisor does."""
    import torch

    from core.runs.machine import threads_per_run

    torch.set_num_threads(threads_per_run())
    if not select.select([sys.stdin], [], [], 0)[0]:  # no run is waiting
        _warm_up()
    run_id = sys.stdin.readline().strip()
    return work(run_id) if run_id else 0


def _warm_up() -> None:
    """Train and measure a tiny model for one step, so that everything torch does on first use is done."""
    import torch

    from core.config import ModelConfig, RunConfig, TrainConfig
    from core.text.corpora import load_corpus
    from core.text.ngrams import count_baselines
    from core.training.trainer import Trainer

    config = RunConfig(
        model=ModelConfig(n_layer=1, n_head=1, n_embd=8, block_size=8),
        train=TrainConfig(steps=1, batch_size=1, eval_windows=1),
    )
    ids = torch.arange(64) % 2
    for _ in Trainer(config, ids, ids, vocab_size=2).events():
        pass
    count_baselines(ids.numpy(), ids.numpy(), 2)
    try:
        load_corpus(RunConfig().data.corpus, data_dir())  # stays in this process's cache; most runs want it
    except ExplorerError as error:
        log.warning("%s", error)


def _redirect_output(folder: RunFolder) -> None:
    log_file = os.open(folder.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(log_file, sys.stdout.fileno())
    os.dup2(log_file, sys.stderr.fileno())
    os.dup2(nothing, sys.stdin.fileno())
    os.close(log_file)
    os.close(nothing)
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
