"""The engines: the same runs on this machine and on a Ray cluster of three hosts, whose processes are killed."""

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
from core.errors import ExplorerError
from core.runs.commands import config_now
from core.runs.engines.cluster import RayEngine
from core.runs.engines.local import LocalEngine, engine_wanted
from core.runs.engines.object_store import StoreFolder, check_store
from core.runs.engines.ray_broker import ROOT, inspect_host, open_shared, problem_of, remove_shared
from core.runs.folder import RunFolder, list_runs
from core.runs.processes import ProcessId, kill
from core.runs.supervisor import Supervisor
from core.sweeps.folder import list_sweeps
from core.text.own_text import save_text
from tests.core.runs.conftest import wait_for, wait_for_state


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head without cores, and two hosts with a core each."""
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80 * 2**20}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
    hosts = [made.add_node(num_cpus=1, memory=2 * 2**30, **small) for _ in range(2)]
    yield SimpleNamespace(made=made, address=made.address, hosts=hosts)
    made.shutdown()


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket of a server that speaks S3."""
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # or it tells each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "any")
        S3FileSystem().mkdir("runs")
        yield "s3://runs"
    server.stop()


@pytest.fixture(params=["file", "s3"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    folder = f"{request.getfixturevalue('bucket')}/" if request.param == "s3" else f"file://{tmp_path}/"
    return f"{folder}{tmp_path.name}"


@pytest.fixture
def start_app(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[LocalEngine], Supervisor]]:
    """Starts the supervisor of an app; at the end all of them, and what trains."""
    monkeypatch.setenv("GPT_EXPLORER_THREADS", "1")
    apps: list[Supervisor] = []

    def start(engine: LocalEngine) -> Supervisor:
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
    """What holds for every engine: a run is killed, goes on from its save, obeys commands and finishes."""
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


def test_a_run_is_steered_killed_resumed_and_finished(start_app, data_dir, config):
    steer_and_kill(start_app(LocalEngine()), RunFolder.create(data_dir, config.replace({"train.steps": 100_000})))


def test_a_ray_cluster_trains_the_same_and_loses_nothing_with_a_host_or_its_head(
    cluster, start_app, data_dir, config, monkeypatch
):
    runs = [RunFolder.create(data_dir, config.replace({"train.steps": 100_000})) for _ in range(5)]
    too_large = RunFolder.create(data_dir, config.replace({"train.processes": 2}))
    app, other = start_app(RayEngine(cluster.address)), start_app(RayEngine(cluster.address))
    app.submit(too_large)  # and none waits behind it
    steer_and_kill(app, runs[0])
    assert "It waits for 2 free cores" in too_large.status().notice
    assert "None is that large." in too_large.status().notice
    app.stop(too_large)

    raylets = [host.all_processes["raylet"][0].process for host in cluster.hosts]
    for raylet in raylets:  # Ray waits for hosts that hang
        raylet.send_signal(signal.SIGSTOP)
    app.submit(runs[1])
    wait_for_state(runs[1], "starting")
    app.stop(runs[1])
    wait_for_state(runs[1], "stopped")
    assert "before a worker had taken it up" in runs[1].status().reason  # or it would have been ended for no reaction
    for raylet in raylets:
        raylet.send_signal(signal.SIGCONT)
    app.resume(runs[1])  # and its place on the cluster is free again
    wait_for_state(runs[1], "running")
    app.stop(runs[1])
    wait_for_state(runs[1], "stopped")
    wait_for(lambda: not app.queue.active(), "its slot")

    _done, _stopped, first, second, third = runs
    app.submit(first)  # at once by two apps: neither sees yet what the other has taken
    other.submit(second)
    wait_for(lambda: all(run.status().step >= 6 for run in (first, second)), "two runs")
    for run in (first, second, third):  # by two apps: those that train are not started once more
        app.submit(run)
        other.submit(run)
    wait_for(lambda: "It waits for 1 free core and" in third.status().notice, "the reason why the third waits")
    assert [run.status().attempt for run in (first, second, third)] == [1, 1, 0]
    status = first.read_status()
    assert {status.host, second.status().host} == {host.name for host in other.engine.hosts() if host.cpus}

    app.close()  # its thread and its broker: an app that has died
    app.engine.close()
    host = next(host for host in cluster.hosts if host.node_id[:6] in status.host)
    cluster.made.remove_node(host, allow_graceful=False)
    kill(ProcessId(status.pid, status.pid_started))  # a real host takes its processes along
    other.stop(second)
    wait_for(lambda: first.status().attempt == 2 and first.status().state == "running", "the run on another host")
    assert first.status().host != status.host and start_of_last_attempt(first) >= 5
    assert second.status().attempt == 1 and third.status().attempt == 0

    step = first.status().step
    monkeypatch.setattr("core.runs.engines.cluster._ANSWER_SECONDS", 1.0)  # there will be none
    cluster.made.head_node.kill_gcs_server(check_alive=False)
    cluster.made.head_node.kill_raylet(check_alive=False)
    wait_for(lambda: "No Ray cluster answers" in third.status().notice, "the reason why the third still waits")
    wait_for(lambda: first.status().step > step + 20, "the first to go on")
    assert first.status().attempt == 2 and other.engine.poll(first, first.read_status())
    other.stop(first)
    wait_for_state(first, "stopped")


def test_hosts_that_share_no_folder_train_through_an_object_store(cluster, start_app, data_dir, config, bucket):
    text = save_text("To be, or not to be: that is the question. " * 40, "Own", data_dir)
    run = RunFolder.create(data_dir, config.replace({"train.steps": 100_000, "data.corpus": text.name}))
    app = start_app(RayEngine(cluster.address, bucket))
    app.submit(run)
    wait_for(lambda: run.status().step >= 6, "the first save")
    kill(ProcessId(run.status().pid, run.status().pid_started))
    wait_for(lambda: run.status().attempt == 2 and run.status().state == "running", "another worker")
    assert start_of_last_attempt(run) >= 5

    app.close()
    app.engine.close()  # and with it the process that holds the lock of the run
    other, step = start_app(RayEngine(cluster.address, bucket)), run.status().step
    wait_for(lambda: run.status().state == "running" and run.status().step > step, "the run, found again")
    other.change_setting(run, "train.steps", end := run.status().step + 500)
    wait_for_state(run, "finished")
    assert run.status().attempt == 2 and run.has_weights and config_now(run).train.steps == end
    steps = [row["step"] for row in run.rows("metrics")]
    assert steps == sorted(set(steps)) and steps[-1] == end
    assert not list(run.commands.glob("[0-9]*")) and {path.name for path in run.files()} >= {"run.json", "worker.log"}
    wait_for(lambda: not other.engine.poll(run, run.read_status()), "its actor to end")


def test_files_in_an_object_store_are_whole_or_left_for_later(tmp_path, store_url):
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
        assert reader.read() == "more\n"  # added to the file that a reader holds open
    assert not (tmp_path / "gone.txt").exists()

    there.write_json("status.json", {"half": "written"})  # not what the manifest names
    (tmp_path / "rows.jsonl").unlink()
    fresh = StoreFolder(store_url, "a-run")
    fresh.pull(tmp_path)
    assert (tmp_path / "status.json").read_text() == "status.json\n" and (tmp_path / "rows.jsonl").exists()
    there.write_json("manifest.json", {"files": {"../outside": "0", "/outside": "0"}})
    assert fresh.pull(tmp_path)["files"] and not (tmp_path.parent / "outside").exists()
    there.remove()
    assert fresh.read_json("manifest.json") is None


def test_what_is_wrong_with_a_cluster_is_said_in_a_sentence(tmp_path, store_url):
    (tmp_path / "runs").mkdir()
    for question in (f"{tmp_path}/runs/shared-0", f"{store_url}/shared-0"):
        with open_shared(question, "w") as file:
            file.write(question)
        answer = inspect_host(str(ROOT), question)
        assert problem_of(answer, question) == ""
        assert "Its clock is 60 minutes off" in problem_of(answer | {"time": time.time() + 3600}, question)
        assert "It has PyTorch 1.0" in problem_of(answer | {"torch": "1.0"}, question)
        assert "another version of GPT Explorer" in problem_of(inspect_host(str(tmp_path), question), question)
        unread = "does not share the folder" if question[0] == "/" else "It cannot read and write"
        assert unread in problem_of(answer | {"pid": 0}, question)
        remove_shared(question)
        assert unread in problem_of(answer, question)


def test_a_store_that_cannot_be_written_to_is_said_in_a_sentence(tmp_path):
    check_store(f"file://{tmp_path}/store")
    (tmp_path / "file").touch()
    for url in (f"file://{tmp_path}/file/store", "nothing://bucket"):
        with pytest.raises(ExplorerError, match=f"Nothing can be written to {url}"):
            check_store(url)


def test_a_cluster_that_is_not_there_is_said_in_a_sentence(data_dir, monkeypatch, capsys):
    monkeypatch.setenv("GPT_EXPLORER_HOME", str(data_dir))
    assert main(["sweep", "--vary", "model.n_layer=1,2", "--engine", "ray", "--ray-address", "127.0.0.1:1"]) == 2
    said = capsys.readouterr().err
    assert "No Ray cluster answers at 127.0.0.1:1. Start one with: ray start --head" in said
    assert not list_sweeps(data_dir)


def test_the_environment_or_an_option_decides_where_a_shell_trains(monkeypatch):
    parser = ArgumentParser()
    add_engine(parser)
    monkeypatch.setenv("GPT_EXPLORER_RAY", "10.0.0.1:6379")
    engine = engine_wanted()
    assert isinstance(engine, RayEngine) and engine.address == "10.0.0.1:6379"
    choose_engine(parser.parse_args(["--engine", "local"]))
    assert not isinstance(engine_wanted(), RayEngine)
    choose_engine(parser.parse_args([]))
    assert not isinstance(engine_wanted(), RayEngine)
