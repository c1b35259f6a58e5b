"""The process that trains: one run, then it ends. A standby has everything imported and waits to be told which."""

import faulthandler
import logging
import os
import select
import signal
import sys

import torch

from core.config import ModelConfig, RunConfig, TrainConfig
from core.errors import ExplorerError
from core.fast.allocator import keep_freed_memory
from core.paths import data_dir
from core.runs.capacity import threads
from core.runs.folder import RunFolder, open_run
from core.runs.processes import not_ignored
from core.runs.training_loop import StopRequest, train_run
from core.text.corpora import load_corpus
from core.text.ngrams import count_baselines
from core.training.trainer import Trainer

log = logging.getLogger(__name__)


def work(run_id: str) -> int:
    """Train one run; what is said goes to its log. Returns the exit code: 0 where the run ended as it should."""
    folder = open_run(data_dir(), run_id)
    keep_freed_memory()
    _talk_into(folder)
    # Asked to end by the system, it saves and stops; the supervisor kills what does not listen.
    stop = StopRequest()
    for number in not_ignored(signal.SIGTERM):
        signal.signal(number, lambda *_: setattr(stop, "reason", "The system asked its process to end."))
    try:
        train_run(folder, data_dir(), threads=threads(), stop_request=stop)
    except Exception:
        log.exception("run %s failed", run_id)
        return 1
    return 0


def prewarm() -> int:
    """Get ready, then wait on standard input for one run id. Ends when the one who would say it is gone."""
    torch.set_num_threads(threads())
    if not select.select([sys.stdin], [], [], 0)[0]:  # nobody waits for us yet
        _warm_up()
    run_id = sys.stdin.readline().strip()
    return work(run_id) if run_id else 0


def _warm_up() -> None:
    """Train a tiny model for one step and measure it, so that everything torch does on first use is done."""
    config = RunConfig(
        model=ModelConfig(n_layer=1, n_head=1, n_embd=8, block_size=8),
        train=TrainConfig(steps=1, batch_size=1, eval_windows=1),
    )
    ids = torch.arange(64) % 2
    for _ in Trainer(config, ids, ids, vocab_size=2).events():
        pass
    count_baselines(ids.numpy(), ids.numpy(), 2)
    try:
        load_corpus(RunConfig().data.corpus, data_dir())  # kept in this process; most runs want it
    except ExplorerError as error:
        log.warning("%s", error)


def _talk_into(folder: RunFolder) -> None:
    """From here on all output, of C libraries too, goes to the run's log, and nothing is read from anyone."""
    log_file = os.open(folder.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(log_file, sys.stdout.fileno())
    os.dup2(log_file, sys.stderr.fileno())
    os.dup2(nothing, sys.stdin.fileno())
    os.close(log_file)
    os.close(nothing)
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
