"""Runs synced through an object store while apps end, disks fill up and users intervene."""

import os
from pathlib import Path
from threading import Event

import pytest

from core.errors import ExplorerError
from core.runs.engines.remote_run import HostCopy, RemoteRun
from core.runs.engines.store_folder import NotThereError, StoreFolder, check_store
from core.runs.folder import RunFolder
from core.runs.records import Status
from tests.core.runs.conftest import wait_for


class Hosted:
    """A run whose worker has written step 5 on a host, and an app that follows it."""

    def __init__(self, run: RunFolder, url: str):
        self.run, self.url = run, url
        self.attempts, self.has_worker = list[str](), Event()
        self.has_worker.set()
        self.app = RemoteRun(run, url, self.attempts.append, self.has_worker.is_set)
        self.app.start()
        wait_for(lambda: self.attempts, "its start")
        self.host = HostCopy(url, run.id, self.attempts[0])
        self.there = RunFolder(self.host.home / "runs" / run.id)
        self.running = Status(state="running", pid=7, pid_started=1.0, host="a host", attempt=1)
        self.send(self.running, 5)
        wait_for(lambda: run.read_status().step == 5, "what the worker writes")

    def send(self, status: Status, step: int) -> None:
        """Write a checkpoint and a status on the host, and send them."""
        for folder in (self.there.checkpoints, self.there.snapshots_folder):
            (folder / f"step-{step:08d}.safetensors").write_text(f"{step}")
        self.there.append("metrics", {"step": step})
        self.there.write_status(status.model_copy(update={"step": step}))
        assert self.host.sync()

    def close_app(self) -> None:
        self.has_worker.clear()
        self.app.join()

    def follow_again(self) -> RemoteRun:
        """Let the next app find no worker and recover the run; return after it has started a worker or not."""
        queued = self.run.recover()
        assert queued.state == "queued"
        self.run.write_status(queued.model_copy(update={"state": "starting", "pid": 0, "host": "the Ray cluster"}))
        app = RemoteRun(self.run, self.url, self.attempts.append, self.has_worker.is_set)
        app.run()
        return app


@pytest.fixture
def hosted(data_dir: Path, config, monkeypatch) -> Hosted:
    monkeypatch.setattr("core.runs.engines.remote_run.SYNC_SECONDS", 0.02)
    return Hosted(RunFolder.create(data_dir, config), f"file://{data_dir}/store")


def saves_of(run: RunFolder) -> list[str]:
    return [path.read_text() for folder in (run.checkpoints, run.snapshots_folder) for path in sorted(folder.iterdir())]


def test_a_remote_run_that_finished_while_no_app_was_running_is_not_retrained(hosted):
    hosted.close_app()
    hosted.send(hosted.running.end("finished"), 12)
    hosted.follow_again()
    assert len(hosted.attempts) == 1 and hosted.run.read_status().state == "finished"
    assert saves_of(hosted.run) == ["5", "12"] * 2 and hosted.run.last_metrics() == {"step": 12}
    assert StoreFolder(hosted.url, hosted.run.id).read_json("manifest.json") is None


def test_a_remote_run_whose_host_died_while_no_app_was_running_resumes_from_its_save(hosted):
    hosted.close_app()
    hosted.send(hosted.running, 9)
    hosted.follow_again()
    assert len(hosted.attempts) == 2
    status = hosted.run.read_status()
    assert (status.state, status.pid, status.step) == ("starting", 0, 9)
    assert "was ended at step 9" in status.notice
    again = HostCopy(hosted.url, hosted.run.id, hosted.attempts[1])
    there = RunFolder(again.home / "runs" / hosted.run.id)
    assert saves_of(there)[:2] == ["5", "9"] == saves_of(hosted.run)[:2] and there.read_status() == status


def test_a_run_trained_elsewhere_since_ignores_the_older_state_in_the_store(hosted):
    hosted.close_app()
    hosted.send(hosted.running.end("finished"), 12)
    (hosted.run.checkpoints / "step-00000020.safetensors").write_text("20")
    hosted.run.write_status(hosted.running.model_copy(update={"attempt": 2, "step": 20}))
    hosted.follow_again()
    assert len(hosted.attempts) == 2 and hosted.run.read_status().step == 20
    assert saves_of(hosted.run) == ["5", "20", "5"]
    again = HostCopy(hosted.url, hosted.run.id, hosted.attempts[1])
    assert saves_of(RunFolder(again.home / "runs" / hosted.run.id))[:2] == ["5", "20"]


def test_a_resumed_run_starts_although_the_store_still_has_its_end(hosted):
    hosted.close_app()
    hosted.send(hosted.running.end("stopped"), 5)
    StoreFolder(hosted.url, hosted.run.id).pull(hosted.run.data_dir)
    hosted.run.write_status(hosted.run.read_status().model_copy(update={"state": "queued"}))
    hosted.follow_again()
    assert len(hosted.attempts) == 2 and hosted.run.read_status().state == "starting"


def test_the_last_files_of_a_run_are_pulled_again_after_a_failure(hosted, caplog):
    last = hosted.run.checkpoints / "step-00000012.safetensors"
    last.mkdir()  # like a full disk, it accepts no file
    hosted.send(hosted.running.end("finished"), 12)
    hosted.has_worker.clear()
    wait_for(lambda: hosted.app.silence or not hosted.app.is_alive(), "a look in vain")
    last.rmdir()
    hosted.app.join()
    assert hosted.run.read_status().state == "finished" and last.read_text() == "12"
    assert "Is a directory" in caplog.text


def test_a_run_stopped_while_its_files_are_pulled_stays_stopped(hosted):
    hosted.close_app()
    hosted.send(hosted.running, 9)
    slow = hosted.run.checkpoints / "step-00000009.safetensors"
    os.mkfifo(slow)  # it is read for comparison before the status is pulled
    app = RemoteRun(hosted.run, hosted.url, None, hosted.has_worker.is_set)
    app.start()
    with slow.open("w"):  # blocks until the reader opens it
        app.kill()
        stopped = hosted.run.write_status(hosted.run.read_status().end("stopped"))
    app.join()
    assert hosted.run.read_status() == stopped


def test_a_rename_survives_a_record_update_of_the_worker(hosted):
    hosted.run.rename("Another name")
    hosted.there.update_record(hardware="2 cores of a host", threads=2)
    assert hosted.host.sync()
    wait_for(lambda: hosted.run.record().threads, "what the worker has filled in")
    record = hosted.run.record()
    assert (record.name, record.hardware) == ("Another name", "2 cores of a host")
    hosted.close_app()


def test_an_unwritable_store_is_refused(tmp_path):
    check_store(f"file://{tmp_path}/store")
    (tmp_path / "file").touch()
    for url in (f"file://{tmp_path}/file/store", "nothing://bucket"):
        with pytest.raises(ExplorerError, match=f"Nothing can be written to {url}"):
            check_store(url)


def test_push_distinguishes_a_missing_store_from_a_missing_file(tmp_path):
    store, name = StoreFolder(f"file://{tmp_path}/store", "a-run"), "rows.jsonl"
    (tmp_path / name).write_text("a row\n")
    files = {name: tmp_path / name, "removed.txt": tmp_path / "removed.txt"}
    store.push(files)
    assert store.read_json("manifest.json")["files"].keys() == {name}
    for gone in (name, "manifest.json"):
        there = tmp_path / "store" / "a-run" / gone
        there.unlink()
        there.symlink_to(tmp_path / "away" / gone)  # not writable, like a missing bucket
        (tmp_path / name).write_text(f"a row of {gone}\n")
        with pytest.raises(NotThereError):
            store.push(files, attempt=gone)
        there.unlink()
    store.push(files, attempt="2")
    assert StoreFolder(f"file://{tmp_path}/store", "a-run").pull(tmp_path)["files"].keys() == {name}
