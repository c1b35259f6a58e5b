import io
import json
import subprocess
import sys
import threading
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from core.cli.arguments import find_run
from core.errors import RunError
from core.paths import made_data_dir, member_home
from core.runs.archive import zip_run
from core.runs.commands import remove_command, send_command, waiting_commands
from core.runs.folder import RUN_ID, RunFolder, list_runs, open_run
from core.runs.loaded_run import cut_after
from core.runs.processes import identify, this_process
from core.runs.records import Status
from core.runs.weights import find_weights, latest_weights


def test_a_new_run_is_queued_and_has_a_complete_record(data_dir, config):
    run = RunFolder.create(data_dir, config, "My run", parent="20260101-000000-abcdefghijkl")
    run.update_record(owner="ada")
    record = open_run(data_dir, run.id).record()
    assert RUN_ID.fullmatch(run.id)
    assert (record.id, record.name, record.owner, record.parent) == (
        run.id,
        "My run",
        "ada",
        "20260101-000000-abcdefghijkl",
    )
    assert record.config == config
    assert "torch" in record.versions
    assert run.status().state == "queued"
    assert run.status().steps == config.train.steps
    assert run.problem is None


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "<img src=x onerror=alert(1)>"])
def test_the_name_of_a_run_is_never_used_as_a_path(data_dir, config, name):
    before = {path for path in data_dir.rglob("*") if path.parent.name != "texts"}
    run = RunFolder.create(data_dir, config, name)
    run.rename(name + "!")
    assert run.name == name + "!"
    made = {path for path in data_dir.rglob("*") if path.parent.name != "texts"} - before
    assert all(path.is_relative_to(run.path) for path in made)
    assert RUN_ID.fullmatch(run.path.name)


@pytest.mark.parametrize("id", ["", "..", "../../x", "queue.sqlite3", "20260101-000000-abcdefghijkl", "x" * 5000])
def test_an_invalid_or_unknown_run_id_is_refused(data_dir, id):
    with pytest.raises(RunError, match="There is no run with the id"):
        open_run(data_dir, id)


def test_runs_are_listed_newest_first(data_dir, config):
    made = []
    for second in ("000001", "000003", "000002"):
        run = RunFolder.create(data_dir, config)
        made.append(run.path.rename(run.path.with_name(f"20260101-{second}-abcdefghijkl")))
    (data_dir / "runs" / "notes.txt").write_text("no run")
    (data_dir / "runs" / "something").mkdir()
    assert [run.id[9:15] for run in list_runs(data_dir)] == ["000003", "000002", "000001"]


def test_runs_of_all_class_members_are_listed_newest_first(data_dir, config):
    """Many runs in one second make ids run ahead of the clock, so a new id must follow those of all members."""
    homes = [made_data_dir(member_home(data_dir, member)) for member in ("ada", "bob")]
    made = [RunFolder.create(home, config).id for home in (homes[0], homes[0], homes[0], homes[1], data_dir, homes[0])]
    assert [run.id for run in list_runs(data_dir)] == made[::-1]


def test_an_unwritable_folder_is_refused_for_a_new_run(data_dir, config, tmp_path):
    (tmp_path / "a file").write_text("")
    with pytest.raises(RunError, match="cannot be written to"):
        RunFolder.create(data_dir, config, inside=tmp_path / "a file")
    assert list_runs(data_dir) == []


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("run.json", None, "no run.json: the file is missing"),
        ("run.json", "", "ends too early"),
        ("run.json", '{"id": "x", "na', "ends too early"),
        ("run.json", "[]", "damaged"),
        ("run.json", '{"config": {}}', "name is missing or wrong"),
        ("run.json", '{"name": "x", "created": "", "config": {"model": {"n_layer": 0}}}', "n_layer cannot be 0"),
        ("status.json", None, "no status.json: the file is missing"),
        ("status.json", '{"state": "runn', "ends too early"),
        ("status.json", '{"state": "flying"}', "status.json of run .* is damaged"),
        ("status.json", "\xff\x00", "damaged"),
    ],
)
def test_a_damaged_run_folder_is_listed_with_its_problem(data_dir, run, file, content, sentence):
    path = run.path / file
    path.unlink() if content is None else path.write_text(content, "latin-1")
    (listed,) = list_runs(data_dir)
    assert listed.problem is not None
    with pytest.raises(RunError, match=sentence):
        raise RunError(listed.problem)
    assert listed.name  # never raises
    status = listed.status()  # never raises either
    if file == "status.json":
        assert status.state == "failed"
        assert status.reason == listed.problem


def test_rows_survive_a_torn_line_and_non_finite_numbers(run):
    run.append("metrics", {"step": 1, "loss": 2.5})
    run.append("metrics", {"step": 2, "loss": float("nan"), "grad_norm": float("inf")})
    with run.metrics_path.open("a") as file:
        file.write('{"step": 3, "lo')
    assert run.rows("metrics") == [{"step": 1, "loss": 2.5}, {"step": 2, "loss": None, "grad_norm": None}]
    cut_after(run, 1)
    run.append("metrics", {"step": 2, "loss": 2.4})
    assert [row["step"] for row in map(json.loads, run.metrics_path.read_text().splitlines())] == [1, 2]


def test_a_new_run_has_no_rows(run):
    assert run.rows("metrics") == run.rows("samples") == run.rows("events") == []
    cut_after(run, 0)


def test_commands_are_read_in_order_until_removed(run):
    send_command(run, "pause")
    send_command(run, "step", count=2)
    send_command(run, "stop")
    (run.commands / "00.json").write_text("not ours")
    assert [(command.name, command.args) for command in waiting_commands(run) if command.name] == [
        ("pause", {}),
        ("step", {"count": 2}),
        ("stop", {}),
    ]
    for command in waiting_commands(run):
        remove_command(run, command)
    assert waiting_commands(run) == []


def test_a_probe_is_read_as_written_and_a_damaged_one_is_none(run):
    assert run.read_probe() is None
    attention = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    embedding = np.linspace(-1, 1, 10, dtype=np.float16).reshape(5, 2)
    run.write_probe(7, attention, embedding, ["a", "\n", '"', "é"])
    probe = run.read_probe()
    assert probe.step == 7
    assert probe.tokens == ["a", "\n", '"', "é"]
    np.testing.assert_array_equal(probe.attention, attention)
    np.testing.assert_array_equal(probe.embedding, embedding)
    run.probe_path.write_bytes(run.probe_path.read_bytes()[:50])
    assert run.read_probe() is None


def test_latest_weights_returns_the_newest_weights_even_if_damaged(run):
    def weights(path, step):
        save_file({"w": np.zeros(1)}, path, {"step": str(step)})

    assert latest_weights(run) is None
    weights(run.snapshot_path(10), 10)
    weights(run.snapshot_path(100), 100)
    assert latest_weights(run) == run.snapshot_path(100)
    weights(run.weights_path, 50)
    assert latest_weights(run) == run.snapshot_path(100)
    for step in (100, 150):
        weights(run.weights_path, step)
        assert latest_weights(run) == find_weights(run, step)  # the same file, so that a model is opened once
    assert latest_weights(run) == run.weights_path
    run.weights_path.write_bytes(b"half")  # loading them fails, instead of using an older snapshot
    assert latest_weights(run) == run.weights_path
    cut_after(run, 20)
    assert [step for step, _ in run.snapshots()] == [10]


def test_a_run_whose_process_dies_repeatedly_fails_with_its_last_log_lines(run):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    pid, started = identify(process.pid)
    run.write_status(Status(state="running", step=5, steps=12, pid=pid, pid_started=started, crashes=2))
    run.log_path.write_text(
        "12:00:00 step 4: training loss 2.1\n"
        "Fatal Python error: Segmentation fault\n\n"
        "Current thread 0x00007f (most recent call first):\n"
        '  File "trainer.py", line 3 in step\n'
        "Extension modules: numpy, torch\n"
    )
    assert run.status().state == "running"
    process.communicate()
    status = run.recover()
    assert (status.state, status.step, status.pid) == ("failed", 5, None)
    assert "training loss 2.1\nFatal Python error: Segmentation fault" in status.reason
    assert "Extension" not in status.reason
    assert json.loads(run.status_path.read_text())["state"] == "failed"


def test_a_run_whose_process_died_is_queued_again(run):
    died = Status(state="running", step=812, steps=1200, pid=2**22 + 1, pid_started=1.0)
    run.write_status(died)
    status = run.recover()
    assert (status.state, status.pid, status.crashes) == ("queued", None, 1)
    assert status.notice == "Its process was ended at step 812; it resumes automatically from the beginning."
    assert run.status() == status
    run.write_status(died.model_copy(update={"state": "paused"}))
    assert (run.recover().state, run.status().pid) == ("paused", None)


def test_an_out_of_memory_kill_is_distinguished_from_other_kills(run, tmp_path):
    counter = tmp_path / "memory.events"  # in the system's format
    counter.write_text("low 0\nhigh 0\nmax 7\noom 3\noom_kill 3\noom_group_kill 0\n")
    counts = {"/sys/fs/cgroup/of/a/container/that/is/gone": 0, str(counter): 3}
    died = Status(state="running", step=8, steps=12, pid=2**22 + 1, pid_started=1.0, oom_kills=counts)
    run.write_status(died)
    assert run.status().state == "queued"
    counter.write_text(counter.read_text().replace("oom_kill 3", "oom_kill 4"))
    status = run.recover()
    assert (status.state, status.problem) == ("failed", "memory")
    assert "the machine had no memory left" in status.reason
    assert "smaller batch" in status.reason
    run.write_status(died.model_copy(update={"host": "another"}))  # this machine does not count its memory
    assert run.recover().state == "queued"


def test_a_reused_pid_is_not_taken_for_the_worker(run):
    me = this_process()
    run.write_status(Status(state="running", pid=me.pid, pid_started=me.started))
    assert run.status().state == "running"
    for began in (1.0, f"{me.started}1"):  # seconds since 1970, an old format; the pid of another process
        run.write_status(Status(state="running", pid=me.pid, pid_started=began))
        assert run.recover().crashes == 1


def test_only_one_process_may_train_in_a_run_folder(run):
    with run.training_lock(), pytest.raises(RunError, match="Another process is already training"), run.training_lock():
        pass
    with run.training_lock():
        pass


def test_a_running_run_cannot_be_deleted_and_a_stopped_one_is_removed_at_once(data_dir, run):
    me = this_process()
    run.write_status(Status(state="running", pid=me.pid, pid_started=me.started))
    with pytest.raises(RunError, match="Stop it before deleting"):
        run.delete()
    run.write_status(Status(state="stopped"))
    run.delete()
    run.delete()  # twice is no error
    assert list((data_dir / "runs").iterdir()) == []
    with pytest.raises(RunError, match="deleted"):
        send_command(run, "stop")


def test_an_unwritable_commands_folder_is_reported(run):
    run.commands.rmdir()
    run.commands.write_text("a file where a folder should be")
    with pytest.raises(RunError, match="cannot be told to pause, because of its folder: Not a directory"):
        send_command(run, "pause")


def test_zip_run_writes_the_run_except_commands_to_an_unseekable_stream(run):
    class Pipe(io.RawIOBase):
        def __init__(self):
            self.data = b""

        def writable(self):
            return True

        def write(self, data):
            self.data += bytes(data)
            return len(data)

    run.append("metrics", {"step": 1})
    send_command(run, "pause")
    pipe = Pipe()
    zip_run(run, pipe)
    archive = zipfile.ZipFile(io.BytesIO(pipe.data))
    assert archive.testzip() is None
    assert {f"{run.id}/run.json", f"{run.id}/metrics.jsonl"} <= set(archive.namelist())
    assert not any("commands" in name for name in archive.namelist())
    assert run.size >= sum(info.file_size for info in archive.infolist())


def test_concurrent_renames_and_record_updates_never_overwrite_each_other(run):
    def fill_in() -> None:
        for number in range(200):
            run.update_record(hardware=f"machine {number}")
            seen.append(run.record().hardware == f"machine {number}")

    seen: list[bool] = []
    worker = threading.Thread(target=fill_in)
    worker.start()
    for number in range(200):
        run.rename(f"name {number}")
        seen.append(run.name == f"name {number}")
    worker.join()
    assert len(seen) == 400
    assert all(seen)


def test_the_run_created_last_is_the_newest_even_if_the_clock_was_set_back(data_dir, config):
    first = RunFolder.create(data_dir, config)
    future = data_dir / "runs" / f"29991231-235959-{first.id[16:]}"
    first.path.rename(future)  # the id if the clock had been wrong
    made = [RunFolder.create(data_dir, config) for _ in range(3)]
    assert [run.id for run in list_runs(data_dir)] == [*(run.id for run in reversed(made)), future.name]
    assert find_run("latest", data_dir).id == made[-1].id
    assert made[-1].record().created < "2999"


def test_runs_created_in_the_same_second_are_listed_in_creation_order(data_dir, config):
    made = [RunFolder.create(data_dir, config).id for _ in range(5)]
    assert [run.id for run in list_runs(data_dir)] == made[::-1]
