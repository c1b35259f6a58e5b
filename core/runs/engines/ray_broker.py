"""The app's broker for a Ray cluster, in a separate process: a Ray driver ends with its cluster, and the app must not.

It answers each line of JSON on standard input with one on standard output. Workers are started by detached actors, one
per run and named after it, so that no run is started twice. A worker leads its own session: it outlives its actor, the
head node and the app, and holds the lock of its run while it trains.
"""

import hashlib
import json
import logging
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import core
from core.errors import ExplorerError
from core.runs.engines.remote_run import RemoteRun
from core.runs.engines.store_folder import check_store
from core.runs.folder import open_run
from core.runs.processes import is_locked

log = logging.getLogger(__name__)
NAMESPACE = "gpt-explorer"
ROOT = Path(core.__file__).parents[1]
_CONNECT_SECONDS = 5.0  # for the address of a cluster to accept a connection
_CHECK_SECONDS = 60.0  # for a host to answer a check
_AGAIN_SECONDS = 5.0  # before a host that could not be checked is checked again
_SIGNAL_SECONDS = 5.0  # for an actor to send a signal
_SEND_SECONDS = 0.5  # of these, the app waits this long
_CLOCK_SECONDS = 60.0  # maximum difference of clocks
_REGISTER_SECONDS = 20.0  # for the head to register a new actor
_RESERVED_SECONDS = 3.0  # until Ray reports a new actor's resources as taken
_LAST_WORKER = "It waits for its last worker to end."
_BEING_CHECKED = "It has just joined the cluster and is being checked."
_CLOCK = "Its clock is {minutes:.0f} minutes off. Set it, for instance with NTP."
_UNCHECKED = "It could not be checked ({why}), and will be checked again."
_NO_TORCH = "It has no PyTorch. Install the same requirements.txt on all hosts."
_TORCH = "It has PyTorch {theirs}, and this machine has {ours}. Install the same requirements.txt on all hosts."
_CODE = "It has another version of GPT Explorer in {root}, or none. Share that folder, or update it there."
_STORE = "It cannot read and write {url}. Install the client of that store there, and give it access."
_FOLDER = "It does not share the folder {folder}: a file written here cannot be read and answered there."


def code_digest(root: Path = ROOT) -> str:
    """Return a hash of the program's source code, as its version."""
    digest = hashlib.sha256()
    for path in sorted((root / "core").rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def inspect_host(root: str, question: str, node: str) -> dict[str, Any]:
    """Return a host's versions and clock, and answer the question in the shared folder, to decide whether it can train.

    The version of PyTorch is empty if it is not installed.
    """
    with suppress(Exception):
        write_answer(question, node)
    torch = ""
    with suppress(metadata.PackageNotFoundError):
        torch = metadata.version("torch")
    return {"torch": torch, "code": code_digest(Path(root)), "time": time.time()}


def write_answer(question: str, node: str) -> None:
    """Copy a question's content to the host's answer file, in the shared folder or in an object store."""
    with open_shared(question) as file, open_shared(f"{question}.{node}", "w") as answer:
        answer.write(file.read())


def open_shared(path: str, mode: str = "r") -> Any:
    """Open a text file by its path, or by its URL in an object store."""
    if "://" not in path:
        return Path(path).open(mode)
    import fsspec

    return fsspec.open(path, mode, auto_mkdir=True, use_listings_cache=False)


class WorkerActor:
    """The actor that starts one worker and ends with it; until then, Ray reserves the worker's resources."""

    def __init__(
        self, run_id: str, root: str, environment: dict[str, str], names: dict[str, str], url: str, attempt: str
    ):
        import ray

        environment |= {"GPT_EXPLORER_HOST": names[ray.get_runtime_context().get_node_id()], "PYTHONPATH": root}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "core", "worker", run_id, "--storage", url, "--attempt", attempt],
            env=os.environ | environment,
            cwd=root,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        self._process.wait()
        os._exit(0)

    def send(self, number: int) -> None:
        """Send a signal to the worker and its children."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


class RayBroker:
    """The broker, with one public method for each of the app's requests."""

    def __init__(self, address: str, data_dir: Path, url: str = ""):
        import ray
        from ray import cloudpickle

        host, colon, port = address.rpartition(":")
        if colon and port.isdecimal():  # fails faster than Ray, which tries for more than a minute
            socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()

        if url:
            check_store(url)
        # So that hosts can be checked even if they do not have our code.
        cloudpickle.register_pickle_by_value(sys.modules[__name__])
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
        self._ray, self._data_dir, self._url = ray, data_dir, url
        self._remote_runs: dict[str, RemoteRun] = {}  # by run
        self._new: dict[str, tuple[float, Any]] = {}  # start times and actors that the head may not know yet, by run
        self._problems: dict[str, str] = {}  # by node; empty if nothing is wrong
        self._check_due: dict[str, float] = {}  # by node; monotonic, infinite if it was checked or is being checked
        self._reserved: list[tuple[float, str, dict[str, float]]] = []  # when, node, resources

    def hosts(self) -> dict[str, Any]:
        """Return all hosts of the cluster, with their total and free resources."""
        from ray._private.state import available_resources_per_node

        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        due = {node["NodeID"] for node in nodes if self._check_due.get(node["NodeID"], 0.0) <= time.monotonic()}
        if due:  # the first time, wait for all hosts; later ones are checked in the background
            is_first = not self._check_due
            self._check_due |= dict.fromkeys(due, math.inf)
            self._problems = dict.fromkeys(due, _BEING_CHECKED) | self._problems
            checking = threading.Thread(target=self._check, args=(due,), daemon=True)
            checking.start()
            checking.join(_CHECK_SECONDS if is_first else 0.0)
        free = available_resources_per_node()
        self._reserved = [each for each in self._reserved if time.monotonic() - each[0] < _RESERVED_SECONDS]
        names = [node["NodeManagerHostname"] for node in nodes]
        hosts = []
        for node in nodes:
            name, has, id = node["NodeManagerHostname"], node["Resources"], node["NodeID"]
            host = {"node": id, "name": f"{name} ({id[:6]})" if names.count(name) > 1 else name}
            for what, resource in (("cpus", "CPU"), ("gpus", "GPU"), ("memory", "memory")):
                taken = sum(needs.get(resource, 0) for _, reserved, needs in self._reserved if reserved == id)
                host[what] = has.get(resource, 0)
                host[f"free_{what}"] = max(0, free.get(id, {}).get(resource, 0) - taken)
            hosts.append(host | {"problem": self._problems[id]})
        silences = [remote.silence for remote in self._remote_runs.values() if remote.is_alive()]
        return {"hosts": sorted(hosts, key=lambda host: host["name"]), "silence": max(silences, default="")}

    def submit(self, run: str, environment: dict[str, str], needs: dict[str, float]) -> dict[str, Any]:
        """Start a worker on the host with the most free cores among those with enough resources.

        If another app has just taken them, Ray chooses another usable host, or waits until one has room.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        if self.exists(run)["exists"]:
            if not self._url or is_locked(open_run(self._data_dir, run).lock_path):
                return {"wait": _LAST_WORKER}
            self._follow(run)  # started by an app that has ended
            return {}
        sound = [host for host in self.hosts()["hosts"] if not host["problem"]]
        fitting = [host for host in sound if all(host[f"free_{what}"] >= needs[what] for what in needs)]
        if not fitting:
            return {"wait": ""}
        host = max(fitting, key=lambda host: host["free_cpus"])
        options: dict[str, Any] = {
            "num_cpus": needs["cpus"],
            "num_gpus": needs["gpus"],
            "memory": needs["memory"],
            "max_restarts": 0,
            "name": run,
            "lifetime": "detached",
            "scheduling_strategy": NodeAffinitySchedulingStrategy(host["node"], soft=True, _spill_on_unavailable=True),
            "label_selector": {"ray.io/node-id": f"in({','.join(each['node'] for each in sound)})"},
        }
        actor = self._ray.remote(WorkerActor).options(**options)
        names = {each["node"]: each["name"] for each in sound}

        def start(attempt: str = "") -> None:
            # Ray cancels an actor if its handle is dropped before the head has registered it.
            self._new[run] = time.monotonic(), actor.remote(run, str(ROOT), environment, names, self._url, attempt)

        try:
            self._follow(run, start) if self._url else start()
        except ValueError:  # another app was faster
            return {"wait": _LAST_WORKER}
        taken = {"CPU": needs["cpus"], "GPU": needs["gpus"], "memory": needs["memory"]}
        self._reserved.append((time.monotonic(), host["node"], taken))
        return {}

    def has_cluster(self) -> bool:
        """Return whether the head of the cluster answers."""
        with suppress(Exception):
            self._ray.nodes()
            return True
        return False

    def exists(self, run: str) -> dict[str, Any]:
        """Return whether the actor of a run is alive or about to start."""
        remote = self._remote_runs.get(run)
        return {"exists": (remote is not None and remote.is_alive()) or self._has_actor(run)}

    def _has_actor(self, run: str) -> bool:
        with suppress(ValueError):
            self._ray.get_actor(run)
            self._new.pop(run, None)
            return True
        since, _handle = self._new.get(run, (-math.inf, None))
        return time.monotonic() - since < _REGISTER_SECONDS

    def _follow(self, run: str, start: Callable[[str], None] | None = None) -> None:
        folder = open_run(self._data_dir, run)
        self._remote_runs[run] = RemoteRun(folder, self._url, start, partial(self._has_actor, run))
        self._remote_runs[run].start()

    def cancel(self, run: str, number: int) -> dict[str, Any]:
        """Send a signal to a run's worker, without waiting for a slow host; end an actor that has not started."""
        from ray._private.state import actors

        remote = self._remote_runs.get(run)
        if remote and (number == signal.SIGKILL or not self._has_actor(run)):
            remote.kill()
        _since, actor = self._new.pop(run, (0.0, None))
        with suppress(ValueError):  # the head has not registered it yet, or there is none
            actor = self._ray.get_actor(run)
        if actor is not None and actors(actor._actor_id.hex()).get("State") == "ALIVE":
            sending = threading.Thread(target=self._send, args=(actor, number), daemon=True)
            sending.start()
            sending.join(_SEND_SECONDS)
        elif actor is not None:  # it still waits for room
            self._ray.kill(actor)
        return {}

    def _send(self, actor: Any, number: int) -> None:
        try:
            self._ray.get(actor.send.remote(number), timeout=_SIGNAL_SECONDS)
        except Exception:  # the actor ends with its worker, perhaps before it answers
            if number == signal.SIGKILL:
                self._ray.kill(actor)

    def _check(self, nodes: set[str]) -> None:
        """Check hosts in parallel; those that could not be checked are checked again later."""
        question = f"{self._url.rstrip('/') or self._data_dir / 'runs'}/shared-{os.urandom(8).hex()}"
        waiting = set(nodes)
        try:
            with open_shared(question, "w") as file:
                file.write(question)
            for node, ref in self._looks(nodes, question).items():
                try:
                    self._problems[node] = problem_of(self._ray.get(ref, timeout=0), question, node)
                    waiting.remove(node)
                except Exception as error:
                    self._problems[node] = _UNCHECKED.format(why=in_words(error))
        except Exception as error:  # the store, or this machine's disk
            self._problems |= dict.fromkeys(waiting, _UNCHECKED.format(why=in_words(error)))
        finally:
            self._check_due |= dict.fromkeys(waiting, time.monotonic() + _AGAIN_SECONDS)
            with suppress(Exception):
                remove_shared(question)

    def _looks(self, nodes: set[str], question: str) -> dict[str, Any]:
        """Return references to the hosts' answers, once all have answered or timed out."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        look = self._ray.remote(num_cpus=0, max_retries=0)(inspect_host)
        there = {node: NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes}
        refs = {n: look.options(scheduling_strategy=there[n]).remote(str(ROOT), question, n) for n in nodes}
        self._ray.wait(list(refs.values()), num_returns=len(refs), timeout=_CHECK_SECONDS)
        return refs


def in_words(error: Exception) -> str:
    """Return the type and the message of an error; for a remote error, without the traceback."""
    if type(error).__name__ == "GetTimeoutError":
        return f"it has not answered for {_CHECK_SECONDS:.0f} seconds"
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}".rstrip(": ")


def problem_of(answer: dict[str, Any], question: str, node: str) -> str:
    """Return why a host with this answer cannot train; empty if it can."""
    ours, off = metadata.version("torch"), abs(answer["time"] - time.time())
    written = ""
    with suppress(FileNotFoundError), open_shared(f"{question}.{node}") as file:
        written = file.read()
    if written != question:
        where = question.rpartition("/")[0]
        return _STORE.format(url=where) if "://" in where else _FOLDER.format(folder=Path(where).parent)
    if answer["code"] != code_digest():
        return _CODE.format(root=ROOT)
    if not answer["torch"]:
        return _NO_TORCH
    if answer["torch"] != ours:
        return _TORCH.format(theirs=answer["torch"], ours=ours)
    return _CLOCK.format(minutes=off / 60) if off > _CLOCK_SECONDS else ""


def remove_shared(question: str) -> None:
    """Remove a question and its answers from the shared folder or store."""
    from fsspec.core import url_to_fs

    files, path = url_to_fs(question, use_listings_cache=False)
    for answer in files.glob(f"{path}*"):
        files.rm_file(answer)


def serve_ray(address: str, data_dir: Path, url: str = "") -> int:
    """Answer requests until standard input is closed."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # Ray prints to standard output
    broker: RayBroker | None = None

    def answer_of(call: Callable[[], dict[str, Any]]) -> None:
        try:
            answer = call()
        except ExplorerError as error:
            answer = {"error": str(error), "is_sentence": True}
        except ImportError:
            answer = {"error": "missing"}
        except Exception as error:
            is_silence = isinstance(error, (ConnectionError, TimeoutError, socket.gaierror))
            is_lost = is_silence if broker is None else not broker.has_cluster()
            if not is_lost:
                log.exception("%s", address)
            answer = {"error": in_words(error), "is_lost": is_lost}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    def connect() -> dict[str, Any]:
        nonlocal broker
        broker = RayBroker(address, data_dir, url)
        return broker.hosts()

    answer_of(connect)
    for line in sys.stdin:
        request = json.loads(line)
        answer_of(partial(getattr(broker, request.pop("do")), **request))
    return 0
