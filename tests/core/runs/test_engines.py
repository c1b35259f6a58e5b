"""The engines: the same runs on this machine and on a Ray cluster of three hosts, with killed processes."""

import logging
import shutil
import signal
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from core.cli import main
from core.cli.arguments import add_engine, choose_engine
from core.runs.commands import config_now
from core.runs.engines.engine import Engine, LocalEngine, engine_wanted
from core.runs.engines.ray_broker import ROOT, inspect_host, open_shared, problem_of, remove_shared
from core.runs.engines.ray_engine import RayEngine
from core.runs.engines.remote_run import HostCopy, RemoteRun
from core.runs.engines.store_folder import StoreError, StoreFolder
from core.runs.folder import RunFolder, list_runs
from core.runs.processes import ProcessId, kill
from core.runs.supervisor import Supervisor
from core.sweeps.folder import list_sweeps
from core.text.own_text import save_text
from tests.core.runs.conftest import wait_for, wait_for_state


class StoreServer:
    """An S3 server with a bucket that survives a stop."""

    url = "s3://runs"

    def __init__(self) -> None:
        self._port = 0
        self.start()

    def start(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self._port, verbose=False)
        self._server.start()
        self.host, self._port = self._server.get_host_and_port()
        self.address = f"http://{self.host}:{self._port}"

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture(scope="module")
def store_server() -> Iterator[StoreServer]:
    from s3fs import S3FileSystem

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # otherwise it logs every request
    server = StoreServer()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", server.address)
        environment.setenv("AWS_MAX_ATTEMPTS", "1")  # retries to a stopped server are useless
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "any")
        S3FileSystem().mkdir("runs")
        yield server
    server.stop()


@pytest.fixture(scope="module")
def cluster(store_server: StoreServer) -> Iterator[Any]:
    """A head without cores, and two hosts with a core each, which know the store. The last test kills it.

    Ray checks a host five times, every three seconds, before it counts as dead, and runs at low priority:
    here it checks more often, at normal priority.
    """
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80 * 2**20}
    head = {"num_cpus": 0, "include_dashboard": False, "include_log_monitor": False, "no_monitor": True, **small}
    with pytest.MonkeyPatch.context() as environment:
        for name, value in (("health_check_period_ms", "500"), ("worker_niceness", "0")):
            environment.setenv(f"RAY_{name}", value)
        made = Cluster(initialize_head=True, head_node_args=head)
        hosts = [made.add_node(num_cpus=1, memory=2 * 2**30, **small) for _ in range(2)]
    yield SimpleNamespace(made=made, address=made.address, hosts=hosts)
    made.shutdown()


@pytest.fixture
def bucket(store_server: StoreServer) -> str:
    return store_server.url


@pytest.fixture(params=["file", "s3"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    folder = f"{request.getfixturevalue('bucket')}/" if request.param == "s3" else f"file://{tmp_path}/"
    return f"{folder}{tmp_path.name}"


@pytest.fixture
def start_app(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Engine], Supervisor]]:
    """Start supervisors; at the end, close them and kill their workers."""
    monkeypatch.setenv("GPT_EXPLORER_THREADS", "1")
    apps: list[Supervisor] = []

    def start(engine: Engine) -> Supervisor:
        engine.start(data_dir)
        apps.append(Supervisor(data_dir, engine=engine))
        apps[-1].start()
        return apps[-1]

    yield start
    for app in apps:
        app.close()
        app.engine.close()
    for run in list_runs(data_dir):
        if pid := run.read_status().pid:
            kill(ProcessId(pid, run.read_status().pid_started or 0.0))


def start_of_last_attempt(run: RunFolder) -> int:
    return [row["step"] for row in run.rows("events") if row["kind"] == "start"][-1]


def steer_and_kill(app: Supervisor, run: RunFolder) -> None:
    """Check for any engine that a killed run resumes from its checkpoint, obeys commands and finishes."""
    app.submit(run)
    wait_for(lambda: run.status().step >= 6, "the first save")
    before = run.read_status()
    assert before.pid and app.engine.poll(run, before)
    kill(ProcessId(before.pid, before.pid_started or 0.0))
    wait_for(lambda: run.status().attempt == 2 and run.status().state == "running", "another worker")
    assert start_of_last_attempt(run) >= 5
    app.pause(run)
    wait_for_state(run, "paused")
    app.change_setting(run, "train.steps", run.status().step + 3)
    app.resume(run)
    wait_for_state(run, "finished")
    wait_for(lambda: not app.queue.active(), "its slot")
    assert not run.status().host


def test_the_local_engine_resumes_a_killed_run_and_obeys_commands(start_app, data_dir, config):
    steer_and_kill(start_app(LocalEngine()), RunFolder.create(data_dir, config.replace({"train.steps": 100_000})))


def test_ray_hosts_without_a_shared_folder_train_through_an_object_store(cluster, start_app, data_dir, config, bucket):
    text = save_text("To be, or not to be: that is the question. " * 40, "Own", data_dir)
    run = RunFolder.create(data_dir, config.replace({"train.steps": 100_000, "data.corpus": text.name}))
    app = start_app(RayEngine(cluster.address, bucket))
    app.submit(run)
    wait_for(lambda: run.status().step >= 6, "the first save")
    kill(ProcessId(run.status().pid, run.status().pid_started))
    wait_for(lambda: run.status().attempt == 2 and run.status().state == "running", "another worker")
    assert start_of_last_attempt(run) >= 5

    app.close()
    app.engine.close()  # this also ends the process that holds the run's lock
    other, step = start_app(RayEngine(cluster.address, bucket)), run.status().step
    wait_for(lambda: run.status().state == "running" and run.status().step > step, "the run, found again")
    other.change_setting(run, "train.steps", end := run.status().step + 500)
    wait_for_state(run, "finished")
    assert run.status().attempt == 2 and run.has_weights and config_now(run).train.steps == end
    steps = [row["step"] for row in run.rows("metrics")]
    assert steps == sorted(set(steps)) and steps[-1] == end
    assert not list(run.commands.glob("[0-9]*")) and {path.name for path in run.files()} >= {"run.json", "worker.log"}
    wait_for(lambda: StoreFolder(bucket, run.id).read_json("manifest.json") is None, "the end of its process there")


def test_runs_on_a_ray_cluster_survive_the_loss_of_a_host_and_of_the_head(
    cluster, start_app, data_dir, config, monkeypatch
):
    runs = [RunFolder.create(data_dir, config.replace({"train.steps": 100_000})) for _ in range(4)]
    too_large = RunFolder.create(data_dir, config.replace({"train.processes": 2}))
    app, other = start_app(RayEngine(cluster.address)), start_app(RayEngine(cluster.address))
    app.submit(too_large)  # it blocks no other run
    steer_and_kill(app, runs[0])
    assert "It waits for 2 free cores" in too_large.status().waits_for
    assert "None is that large." in too_large.status().waits_for
    app.stop(too_large)

    raylets = [host.all_processes["raylet"][0].process for host in cluster.hosts]
    for raylet in raylets:  # Ray waits for hosts that hang
        raylet.send_signal(signal.SIGSTOP)
    _done, first, second, third = runs
    app.submit(first)
    wait_for_state(first, "starting")
    app.stop(first)
    wait_for_state(first, "stopped")
    assert "before it started" in first.status().reason  # not because it did not react
    for raylet in raylets:
        raylet.send_signal(signal.SIGCONT)
    app.resume(first)  # needs its freed place on the cluster, which has two
    other.submit(second)  # two apps at once: neither sees yet the other's claim
    wait_for(lambda: all(run.status().step >= 6 for run in (first, second)), "two runs")
    for run in (first, second, third):  # by two apps: running ones are not started again
        app.submit(run)
        other.submit(run)
    wait_for(lambda: "It waits for 1 free core and" in third.status().waits_for, "the reason why the third waits")
    assert [run.status().attempt for run in (first, second, third)] == [1, 1, 0]
    status = first.read_status()
    assert {status.host, second.status().host} == {host.name for host in other.engine.hosts() if host.cpus}

    app.close()  # its thread and its broker, as in a crashed app
    app.engine.close()
    host = next(host for host in cluster.hosts if host.node_id[:6] in status.host)
    cluster.made.remove_node(host, allow_graceful=False)
    kill(ProcessId(status.pid, status.pid_started))  # with a real host, its processes end too
    other.stop(second)
    wait_for(lambda: first.status().attempt == 2 and first.status().state == "running", "the run on another host")
    assert first.status().host != status.host and start_of_last_attempt(first) >= 5
    assert second.status().attempt == 1 and third.status().attempt == 0

    step = first.status().step
    monkeypatch.setattr("core.runs.engines.ray_engine._ANSWER_SECONDS", 1.0)  # no answer will come
    cluster.made.head_node.kill_gcs_server(check_alive=False)
    cluster.made.head_node.kill_raylet(check_alive=False)
    wait_for(lambda: "No Ray cluster answers" in third.status().waits_for, "the reason why the third still waits")
    wait_for(lambda: first.status().step > step + 20, "the first to go on")
    assert first.status().attempt == 2 and other.engine.poll(first, first.read_status())
    other.stop(first)
    wait_for_state(first, "stopped")


def test_pulling_from_an_object_store_takes_only_complete_files(tmp_path, store_url):
    there, here = StoreFolder(store_url, "a-run"), StoreFolder(store_url, "a-run")
    (source := tmp_path / "source").mkdir()
    for name in ("rows.jsonl", "status.json", "gone.txt"):
        (source / name).write_text(f"{name}\n")
    there.push({path.name: path for path in source.iterdir()})
    assert here.pull(tmp_path)["files"].keys() == {"rows.jsonl", "status.json", "gone.txt"}
    with (tmp_path / "rows.jsonl").open() as reader, (source / "rows.jsonl").open("a") as writer:
        reader.read()
        writer.write("more\n")
        writer.flush()
        (source / "gone.txt").unlink()
        there.push({path.name: path for path in source.iterdir()})
        here.pull(tmp_path)
        assert reader.read() == "more\n"  # appended to the file that the reader has open
    assert not (tmp_path / "gone.txt").exists()

    there.write_json("status.json", {"half": "written"})  # does not match the manifest
    (tmp_path / "rows.jsonl").unlink()
    fresh = StoreFolder(store_url, "a-run")
    fresh.pull(tmp_path)
    assert (tmp_path / "status.json").read_text() == "status.json\n" and (tmp_path / "rows.jsonl").exists()
    there.write_json("manifest.json", {"files": {"../outside": "0", "/outside": "0"}})
    assert fresh.pull(tmp_path)["files"] and not (tmp_path.parent / "outside").exists()
    there.remove()
    assert fresh.read_json("manifest.json") is None


def bytes_sent(store: Path, push: Callable[..., None], *args: Any, **more: Any) -> dict[str, int]:
    """Push, and return the sizes of the written objects by name."""
    store.rename(before := store.with_name("before"))
    push(*args, **more)
    sent = {path.relative_to(store).as_posix(): path.stat().st_size for path in store.rglob("*") if path.is_file()}
    shutil.copytree(store, before, dirs_exist_ok=True)
    shutil.rmtree(store)
    before.rename(store)
    return sent


def test_only_changed_parts_of_files_are_transferred(tmp_path):
    url, store = f"file://{tmp_path}/store", tmp_path / "store" / "a-run"
    there, here = StoreFolder(url, "a-run"), StoreFolder(url, "a-run")
    for folder in (tmp_path / "source/snapshots", tmp_path / "hosted", tmp_path / "app", store):
        folder.mkdir(parents=True)
    files = {name: tmp_path / "source" / name for name in ("rows.jsonl", "checkpoint", "snapshots/step-1")}
    row = "a row\n" * 10_000
    for path in files.values():
        path.write_text(row * 4)
    sent = bytes_sent(store, there.push, files, unsent=["snapshots/step-1"])
    assert "snapshots/step-1" not in sent and sent["checkpoint"] == 4 * len(row)

    here.pull(tmp_path / "hosted")
    hosted = {name: tmp_path / "hosted" / name for name in files}
    assert hosted["rows.jsonl"].read_text() == row * 4 and not hosted["snapshots/step-1"].stat().st_size
    with hosted["rows.jsonl"].open("a") as file:
        file.write("one more\n")
    sent = bytes_sent(store, here.push, hosted)
    assert 0 < sent.pop("rows.jsonl.part-7") < len(row) and sent.keys() == {"manifest.json"}
    there.pull(tmp_path / "source")
    assert (
        files["rows.jsonl"].read_text() == f"{row * 4}one more\n" and files["snapshots/step-1"].read_text() == row * 4
    )

    again = StoreFolder(url, "a-run")  # the attempt after one whose host has died
    again.adopt()
    sent = bytes_sent(store, again.push, files, unsent=["snapshots/step-1"], attempt="2")
    assert sent.keys() == {"manifest.json"}
    other = StoreFolder(url, "a-run")
    assert other.has_all(other.pull(tmp_path / "app")) and (tmp_path / "app" / "snapshots/step-1").exists()
    hosted["snapshots/step-1"].unlink()  # as a worker does when it thins its snapshots
    here.push(hosted)
    there.pull(tmp_path / "source")
    assert not files["snapshots/step-1"].exists()


def test_an_unreachable_store_is_reported_until_it_answers_again(data_dir, config, store_server, monkeypatch):
    monkeypatch.setattr("core.runs.engines.remote_run.SYNC_SECONDS", 0.02)
    run, attempts, has_worker = RunFolder.create(data_dir, config), list[str](), Event()
    has_worker.set()
    store_server.stop()
    app = RemoteRun(run, store_server.url, attempts.append, has_worker.is_set)
    app.start()
    wait_for(lambda: "has not answered since" in run.status().waits_for, "why it does not begin")
    assert not attempts
    store_server.start()
    wait_for(lambda: attempts, "its start")
    host = HostCopy(store_server.url, run.id, attempts[0])
    there = RunFolder(host.home / "runs" / run.id)
    began = there.write_status(there.read_status().model_copy(update={"state": "running", "step": 5}))
    assert host.sync() and not began.waits_for
    wait_for(lambda: run.status().step == 5, "what the worker writes")

    store_server.stop()
    wait_for(lambda: "The run continues" in run.status().waits_for, "that the store does not answer")
    assert run.status().state == "running" and app.silence == run.status().waits_for
    there.write_status(began.model_copy(update={"step": 9}))
    with pytest.raises(StoreError):
        host.sync()
    store_server.start()
    assert host.sync()
    wait_for(lambda: run.status().step == 9, "what it has written meanwhile")
    assert not run.status().waits_for
    wait_for(lambda: not app.silence, "that the store answers")

    there.write_status(began.end("finished"))
    assert host.sync()
    has_worker.clear()
    app.join()
    assert run.status().state == "finished" and StoreFolder(store_server.url, run.id).read_json("manifest.json") is None


def test_a_missing_store_folder_is_reported_and_syncing_continues_once_it_returns(
    data_dir, config, tmp_path, monkeypatch
):
    monkeypatch.setattr("core.runs.engines.remote_run.SYNC_SECONDS", 0.02)
    url, attempts, has_worker = f"file://{tmp_path}/store", list[str](), Event()
    has_worker.set()
    run = RunFolder.create(data_dir, config)
    app = RemoteRun(run, url, attempts.append, has_worker.is_set)
    app.start()
    wait_for(lambda: attempts, "its start")
    host = HostCopy(url, run.id, attempts[0])
    (tmp_path / "store").rename(tmp_path / "away")  # as if unmounted
    with pytest.raises(StoreError):  # the worker does not end, unlike for a deleted run
        host.sync()
    wait_for(lambda: "has not answered since" in run.status().waits_for, "that the store does not answer")
    (tmp_path / "store").mkdir(exist_ok=True)
    (tmp_path / "store").rename(tmp_path / "empty")
    (tmp_path / "away").rename(tmp_path / "store")
    assert host.sync()
    wait_for(lambda: not run.status().waits_for, "that the store answers")
    has_worker.clear()
    app.join()


def test_each_problem_of_a_cluster_host_is_reported(tmp_path, store_url):
    (tmp_path / "runs").mkdir()
    for question in (f"{tmp_path}/runs/shared-0", f"{store_url}/shared-0"):
        with open_shared(question, "w") as file:
            file.write(question)
        answer = inspect_host(str(ROOT), question, "a")
        assert problem_of(answer, question, "a") == ""
        assert "Its clock is 60 minutes off" in problem_of(answer | {"time": time.time() + 3600}, question, "a")
        assert "It has PyTorch 1.0" in problem_of(answer | {"torch": "1.0"}, question, "a")
        assert "It has no PyTorch" in problem_of(answer | {"torch": ""}, question, "a")
        assert "another version of GPT Explorer" in problem_of(
            inspect_host(str(tmp_path), question, "a"), question, "a"
        )
        unread = "does not share the folder" if question[0] == "/" else "It cannot read and write"
        assert unread in problem_of(answer, question, "b")
        remove_shared(question)
        assert unread in problem_of(answer, question, "a")


def test_an_unreachable_cluster_is_reported(data_dir, monkeypatch, capsys):
    monkeypatch.setenv("GPT_EXPLORER_HOME", str(data_dir))
    assert main(["sweep", "--vary", "model.n_layer=1,2", "--engine", "ray", "--ray-address", "127.0.0.1:1"]) == 2
    said = capsys.readouterr().err
    assert "No Ray cluster answers at 127.0.0.1:1. Start one with: ray start --head" in said
    assert not list_sweeps(data_dir)


def test_the_environment_or_an_option_selects_the_engine(monkeypatch):
    parser = ArgumentParser()
    add_engine(parser)
    monkeypatch.setenv("GPT_EXPLORER_RAY", "10.0.0.1:6379")
    engine = engine_wanted()
    assert isinstance(engine, RayEngine) and engine.address == "10.0.0.1:6379"
    choose_engine(parser.parse_args(["--engine", "local"]))
    assert not isinstance(engine_wanted(), RayEngine)
    choose_engine(parser.parse_args([]))
    assert not isinstance(engine_wanted(), RayEngine)
