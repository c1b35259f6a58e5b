"""Fixtures and options of all tests, and a data folder with real runs."""

import gc
import json
import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psutil
import pytest
from hypothesis import settings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from tests.shapes import check_shapes

# Tests check the shapes in annotations, so before anything imports these packages. Elsewhere they are only read:
# checking them would add to every step.
check_shapes(["core.model", "core.interpretability"])

from core.atomic_io import lock
from core.classroom import Classroom
from core.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from core.paths import member_home
from core.runs.folder import RunFolder, list_runs
from core.runs.machine import machine_speed, threads_per_run
from core.runs.worker import train_run
from core.text.own_text import save_text
from core.training import speed
from core.training.hardware import find_hardware

# No deadline: a busy machine is slow, not wrong. The same examples in every run: a failure is there for everyone.
settings.register_profile("everywhere", deadline=None, derandomize=True)
settings.load_profile("everywhere")

# In memory, where that has room, tests never wait for a disk, which they would to a third of their time in `core.runs`.
_MEMORY = Path("/dev/shm")
if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > 2**31:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))

# A fork server imports torch beside nearly every test, and few tests train with it.
os.environ["GPT_EXPLORER_PREWARM"] = "0"


def pytest_collection() -> None:
    gc.disable()  # hardly anything that is made while tests are collected goes away again


def pytest_collection_finish() -> None:
    """Leave modules and tests out of garbage collection, which Streamlit does whenever a page is drawn: 0.3 s each.

    And let it search the installed packages for components once, and not for every `AppTest`: a quarter of a second.
    An `AppTest` waits for the thread that draws its page, instead of asking it a thousand times a second.
    """
    gc.freeze()
    gc.enable()
    if "streamlit" in sys.modules:
        from streamlit.components.v2 import manifest_scanner
        from streamlit.testing.v1 import local_script_runner

        manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)
        end_late_script = local_script_runner.require_widgets_deltas

        def wait_for_script(runner: local_script_runner.LocalScriptRunner, timeout: float) -> None:
            runner._script_thread.join(timeout)
            if runner._script_thread.is_alive():
                end_late_script(runner, 0)

        local_script_runner.require_widgets_deltas = wait_for_script


TEXT = "To be, or not to be: that is the question.\nWhether 'tis nobler in the mind to suffer\n" * 30


@contextmanager
def no_file_longer_than(size: int, limit: int = resource.RLIMIT_FSIZE):
    """For this process the disk is full at so many bytes a file; or another limit of the system holds."""
    before = resource.getrlimit(limit)
    resource.setrlimit(limit, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(limit, before)


def no_more_memory_than(more: int):
    """For this process the system has so many bytes of memory left."""
    return no_file_longer_than(psutil.Process().memory_info().vms + more, resource.RLIMIT_AS)


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file with the speed of this machine, measured once by small models: a home without it takes seconds."""
    own = tmp_path_factory.getbasetemp()
    data_dir = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own  # one for all processes of the tests
    path = data_dir / "machine.json"
    with (data_dir / "measured.lock").open("ab") as file, pytest.MonkeyPatch.context() as patch:
        lock(file)
        if path.exists():
            return path
        patch.setattr(speed, "_PROBES", speed._PROBES[:4])
        patch.setattr(speed, "_SECONDS_EACH", 0.02)
        machine_speed(data_dir, find_hardware("cpu"), 1)
        cache = json.loads(path.read_bytes())
        speed_of_one = cache["speeds"][0]["speed"]  # tests need a figure, not that two threads are faster than one
        counts = {1, threads_per_run()}
        # A server measures once more what was measured beside other work.
        cache["speeds"] = [{"busy": False, "speed": speed_of_one | {"threads": count}} for count in sorted(counts)]
        path.write_text(json.dumps(cache))
    return path


@pytest.fixture
def explorer_home(tmp_path: Path, measured: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own without runs. What a test sets training in it is ended with the test."""
    data_dir = tmp_path / "home"
    for name in ("runs", "texts", "downloads"):
        (data_dir / name).mkdir(parents=True)
    shutil.copy(measured, data_dir)
    monkeypatch.setenv("GPT_EXPLORER_HOME", str(data_dir))
    yield data_dir
    if "explorer.services.shared" in sys.modules:
        service = sys.modules["explorer.services.shared"]
        for folder in list_runs(data_dir):
            pid = folder.status().pid
            if pid not in (None, os.getpid()):
                service.supervisor().delete(folder)
        service.close()


@pytest.fixture
def client(explorer_home: Path) -> Iterator[TestClient]:
    """Our own routes, as a browser asks them."""
    from explorer.streaming.broadcaster import Broadcaster
    from explorer.web.routes import api_routes

    with TestClient(Starlette(routes=api_routes(Broadcaster()))) as opened:
        yield opened


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one real, tiny GPT, trained once for all tests. Tests use copies: see `add_run`."""
    data_dir = tmp_path_factory.mktemp("trained")
    corpus = save_text(TEXT, "Two lines of Hamlet", data_dir)
    config = RunConfig(
        preset="gpt-tiny",
        model=ModelConfig(n_layer=2, n_head=2, n_embd=16, block_size=16),
        data=DataConfig(corpus=corpus.name),
        train=TrainConfig(
            steps=20,
            batch_size=4,
            eval_interval=10,
            eval_windows=4,
            log_interval=2,
            sample_interval=10,
            sample_length=20,
            checkpoint_interval=10,
            snapshots=4,
            device="cpu",
            precision="float32",
        ),
    )
    train_run(RunFolder.create(data_dir, config, name="patient-otter"), data_dir)
    return data_dir


@pytest.fixture
def add_run(explorer_home: Path, trained_home: Path) -> Callable[..., RunFolder]:
    """Puts another copy of the trained run into the home: `add_run(name=..., state="running", step=10)`.

    A run that goes on has this very process as its worker, so that it counts as alive.
    """
    shutil.copytree(trained_home / "texts", explorer_home / "texts", dirs_exist_ok=True)
    source = list_runs(trained_home)[0]

    def add(name: str = "patient-otter", **status) -> RunFolder:
        count = len(list_runs(explorer_home))
        folder = RunFolder(explorer_home / "runs" / f"20260101-00000{count}-{'abcdefghij'[count] * 12}")
        shutil.copytree(source.path, folder.path)
        folder.rename(name)
        if status:
            if status.get("state") in ("starting", "running", "paused"):
                status |= {"pid": os.getpid(), "pid_started": psutil.Process().create_time()}
            folder.write_status(folder.status().model_copy(update=status))
        return folder

    return add


@pytest.fixture
def finished_run(add_run: Callable[..., RunFolder]) -> RunFolder:
    """A finished run in `explorer_home`."""
    return add_run()


@pytest.fixture
def ruined_run(add_run: Callable[..., RunFolder]) -> RunFolder:
    """A finished run whose loss rose after its learning rate was raised at step 20."""
    folder = add_run("ruined", step=40, steps=40, val_loss=5.5, train_loss=5.4)
    folder.append("events", {"step": 20, "kind": "turn", "knob": "train.learning_rate", "before": 1e-3, "value": 1.0})
    for step in (30, 40):
        folder.append("metrics", {"step": step, "loss": 5.0, "val_loss": 5.5, "train_loss": 5.4, "grad_norm": 0.3})
    return folder


@pytest.fixture
def running_run(add_run: Callable[..., RunFolder]) -> RunFolder:
    """A run that is at step 10 of 20."""
    return add_run("busy-bee", state="running", step=10, seconds_left=5.0)


@pytest.fixture
def damaged_run(add_run: Callable[..., RunFolder]) -> RunFolder:
    """A run whose record was cut off in the middle."""
    folder = add_run("lost-lamb")
    path = next(folder.path.glob("run.json"))
    path.write_bytes(path.read_bytes()[:40])
    return folder


@pytest.fixture
def known(explorer_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Classroom]:
    """A class that is served; afterwards this thread works for nobody."""
    from explorer.services import visitors

    monkeypatch.setattr(visitors, "_classrooms", [])
    yield visitors.serve_class("Physics 11b")
    visitors._asking.set(None)


@pytest.fixture
def people(known: Classroom) -> dict[str, TestClient]:
    """Browsers of nobody, of the teacher and of two students who have joined."""
    from explorer.streaming.broadcaster import Broadcaster
    from explorer.web.class_access import ClassAccess, join_routes
    from explorer.web.middleware import AllowedSites, RequestGuard
    from explorer.web.routes import api_routes

    routes = [*api_routes(Broadcaster()), *join_routes()]
    middleware = [Middleware(RequestGuard, AllowedSites(host_names=("testserver",))), Middleware(ClassAccess)]
    app = Starlette(routes=routes, middleware=middleware)
    browsers = {name: TestClient(app, follow_redirects=False) for name in ("nobody", "teacher", "Ada", "Bob")}
    browsers["teacher"].post("/teach", data={"key": known.teacher_key})
    for name in ("Ada", "Bob"):
        assert browsers[name].post("/join", data={"code": known.code, "nickname": name}).status_code == 303
    return browsers


@pytest.fixture
def run_of_ada(known: Classroom, people: dict[str, TestClient], finished_run: RunFolder) -> RunFolder:
    """A real run with its own text, in Ada's folder."""
    home = next(member_home(known.root, member.id) for member in known.members() if member.nickname == "Ada")
    text = finished_run.record().config.data.corpus
    for file in (known.root / "texts").glob(f"{text}.*"):
        shutil.move(file, home / "texts" / file.name)
    return RunFolder(Path(shutil.move(finished_run.path, home / "runs")))
