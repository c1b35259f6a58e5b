"""The app's background processes: a worker, which trains one run and exits, and the server that forks workers."""

import faulthandler
import gc
import json
import logging
import os
import signal
import sys
from typing import NoReturn

from core.config import RunConfig
from core.errors import ExplorerError
from core.paths import data_dir
from core.runs.engines.fork_server import CAN_FORK
from core.runs.folder import RunFolder, open_run
from core.runs.queue import existing_supervisor_lock

log = logging.getLogger(__name__)


def work(run_id: str) -> int:
    """Train one run, with all output in its log. Returns the exit code: 0, or 1 if an exception ended it."""
    from core.fast.threads import keep_freed_memory
    from core.runs.machine import threads_per_run
    from core.runs.processes import not_ignored
    from core.runs.worker import StopRequest, train_run

    folder = open_run(data_dir(), run_id)
    keep_freed_memory()
    _redirect_output(folder)
    # On SIGTERM, training saves and stops; the supervisor kills a process that does not.
    stop = StopRequest()
    for number in not_ignored(signal.SIGTERM):
        signal.signal(number, lambda *_: setattr(stop, "reason", "The system asked its process to end."))
    try:
        train_run(folder, data_dir(), threads=threads_per_run(), stop_request=stop)
    except Exception:
        log.exception("run %s failed", run_id)
        return 1
    return 0


def serve_forks() -> int:
    """Import torch, then fork a worker for each request on standard input, until it is closed.

    A request is a line of JSON: the run's id, or the thread counts to measure the machine with, and the environment
    of the fork. The answer is a line with the fork's pid, or with the negative errno if the system cannot fork. If
    forking is not safe, this process answers with its own pid before it imports anything, and becomes the worker.
    """
    if not CAN_FORK:
        _answer(os.getpid())
    _import_all()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps the workers
    for line in open(0, "rb", buffering=0):  # noqa: SIM115 - standard input without reading ahead
        if not CAN_FORK or _is_fork():
            request = json.loads(line)
            os.environ.clear()
            os.environ.update(request["environment"])
            code = _measure(request["threads"]) if "threads" in request else _work_if_assigned(request["run"])
            return _end_fork(code) if CAN_FORK else code
    return 0


def _is_fork() -> bool:
    """Fork and answer with the pid or the error; return True in the fork, which leads its own session."""
    try:
        pid = os.fork()
    except OSError as error:
        pid = -(error.errno or 1)
    if pid:
        _answer(pid)
        return False
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return True


def _end_fork(code: int) -> NoReturn:
    """Exit without the interpreter's cleanup, which writes to shared objects and so copies their memory pages."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _answer(number: int) -> None:
    os.write(sys.stdout.fileno(), b"%d\n" % number)


def _import_all() -> None:
    """Import what training needs, but compute nothing: a process with running torch threads cannot be forked."""
    gc.disable()  # imports create hardly any garbage, and collections took a sixth of their time
    import torch.utils.tensorboard  # noqa: F401

    import core.runs.worker  # noqa: F401
    from core.text.corpora import load_corpus
    from core.training.cost import TYPICAL_VOCABULARY
    from core.training.work import work_per_token

    work_per_token(RunConfig().model, TYPICAL_VOCABULARY)  # imports modules, but computes with no numbers
    try:
        load_corpus(RunConfig().data.corpus, data_dir())  # stays in this process's cache for the forks
    except ExplorerError as error:
        log.warning("%s", error)
    gc.freeze()  # otherwise the first collection in a fork would copy every page
    gc.enable()


def _measure(threads: list[int]) -> int:
    from core.runs.machine import machine_speed
    from core.training.hardware import find_hardware

    for count in threads:
        machine_speed(data_dir(), find_hardware(), count, again_if_busy=True)
    return 0


def _work_if_assigned(run_id: str) -> int:
    """Train the run if its status names this process. The supervisor writes the status before releasing its lock."""
    with existing_supervisor_lock(data_dir() / "runs"):
        assigned = open_run(data_dir(), run_id).status().pid == os.getpid()
    return work(run_id) if assigned else 1


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
