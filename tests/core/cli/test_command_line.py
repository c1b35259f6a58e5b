"""The command line: its output and exit codes, partly in real processes."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.cli import main
from core.cli.arguments import find_run
from core.cli.train import _stop_by_signal
from core.errors import RunError
from core.runs.ancestry import fork
from core.runs.commands import send_command, waiting_commands
from core.runs.folder import RunFolder, list_runs, open_run
from core.runs.worker import StopRequest
from core.text.own_text import own_texts, save_text
from core.training import speed
from tests.core.runs.conftest import TEXT, wait_for

ROOT = Path(__file__).parents[3]
STOPPING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
SMALL = [
    "--set",
    "train.precision=float32",  # avoids measuring the machine
    "--set",
    "model.n_layer=1",
    "--set",
    "model.n_head=2",
    "--set",
    "model.n_embd=16",
    "--set",
    "model.block_size=8",
    "--set",
    "train.batch_size=2",
    "--set",
    "train.eval_windows=4",
    "--set",
    "train.eval_interval=10",
    "--set",
    "train.sample_length=8",
    "--set",
    "train.snapshots=2",
]


@pytest.fixture
def data_dir(tmp_path, measured, monkeypatch) -> Path:
    monkeypatch.setenv("GPT_EXPLORER_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    shutil.copy(measured, tmp_path / "home")
    monkeypatch.setattr(speed, "_TRIAL_SECONDS", 0.02)
    return tmp_path / "home"


@pytest.fixture
def text_file(tmp_path) -> Path:
    path = tmp_path / "bottles.txt"
    path.write_text(TEXT)
    return path


def refused(capsys, *arguments: str) -> str:
    """Run a command line that must be refused; return its error message."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert err.strip()
    return err


def test_a_run_trained_from_the_command_line_generates_text_and_is_listed(data_dir, text_file, capsys):
    assert main(["train", "--text", str(text_file), "--steps", "20", "--name", "[red]<b>x", *SMALL]) == 0
    out = capsys.readouterr().out
    assert "Training [red]<b>x" in out
    assert "The warm-up takes 50 of 20 steps" in out and "(train.warmup_steps=2)" in out
    assert re.search(r"step 20 of 20 · training \d\.\d+ · validation \d\.\d+ · [\d,]+ tokens/s", out)
    (run,) = list_runs(data_dir)
    assert f"python -m core generate {run.id}" in out
    assert re.search(r"Validation loss fell from \d|Still falling|Flat for|Not learning|Overfitting", out)
    assert run.status().state == "finished"
    assert run.record().config.train.steps == 20

    texts = []
    for wanted in ("latest", run.id, run.id[:17], "[red]<b>x", str(run.path)):
        assert main(["generate", wanted, "--prompt", "99 b", "--tokens", "30", "--seed", "7", "--top-k", "3"]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0].startswith("99 b")
    assert len(texts[0]) == len("99 b") + 30 + 1
    assert set(texts) == {texts[0]}
    stop_at = ["--stop", texts[0][20].replace("\n", r"\n")]
    assert (
        main(["generate", "latest", "--prompt", "99 b", "--tokens", "30", "--seed", "7", "--top-k", "3", *stop_at]) == 0
    )
    assert capsys.readouterr().out == f"99 b{texts[0][4:20].split(texts[0][20])[0]}\n"

    assert "U+65E5" in refused(capsys, "generate", "latest", "--prompt", "日本")
    assert "temperature cannot be 9" in refused(capsys, "generate", "latest", "--temperature", "9")
    main(["runs"])
    assert re.search(r"\[red\]<b>x +finished +20 of 20", capsys.readouterr().out)


def test_several_samples_increment_the_seed_and_min_p_one_is_greedy(finished_run, capsys):
    asked = ["generate", "latest", "--prompt", "To be", "--tokens", "12", "--temperature", "1.5"]
    alone = []
    for seed in ("7", "8", "9"):
        assert main([*asked, "--seed", seed]) == 0
        alone.append(capsys.readouterr().out)
    assert main([*asked, "--seed", "7", "--samples", "3"]) == 0
    assert capsys.readouterr().out == "---------------\n".join(alone) and len(set(alone)) == 3
    assert "--samples cannot be 0" in refused(capsys, *asked, "--samples", "0")
    assert main([*asked, "--samples", "2", "--min-p", "1"]) == 0
    first, second = capsys.readouterr().out.split("---------------\n")
    assert first == second, "only the most likely token is left to sample"


def test_backslash_n_in_a_prompt_is_a_newline_and_the_old_option_name_still_works(finished_run, capsys):
    texts = []
    for prompt in ("be:\n", r"be:\n"):
        for option in ("--forget", "--evict-fraction"):
            assert main(["generate", "latest", "--prompt", prompt, "--tokens", "30", option, "0.5"]) == 0
            texts.append(capsys.readouterr().out)
    assert set(texts) == {texts[0]} and texts[0].startswith("be:\n")
    assert main(["generate", "latest", "--prompt", "", "--tokens", "9", "--seed", "1"]) == 0
    empty = capsys.readouterr().out
    assert main(["generate", "latest", "--tokens", "9", "--seed", "1"]) == 0
    assert capsys.readouterr().out == empty and len(empty) == 10


def test_the_printed_generate_command_works_for_a_text_without_newlines(data_dir, tmp_path, capsys):
    (tmp_path / "dna.txt").write_text("GATTACACATCAT" * 60)
    assert main(["train", "--text", str(tmp_path / "dna.txt"), "--steps", "2", *SMALL]) == 0
    command = re.search(r"python -m core (generate .*)", capsys.readouterr().out)[1]
    assert main([*command.split(), "--tokens", "20"]) == 0
    assert re.fullmatch("A[ACGT]{20}\n", capsys.readouterr().out), "it begins with its first token"


def test_invalid_train_arguments_are_refused_before_a_run_is_created(data_dir, text_file, tmp_path, capsys):
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "broken.txt").write_bytes(b"ab\xff")
    (tmp_path / "short.txt").write_text("too short")
    (tmp_path / "table.csv").write_text("a,b\nx,y\n")
    for arguments, sentence in (
        (("--preset", "nope"), "There is no preset called 'nope'"),
        (("--corpus", "nope"), "nope"),
        (("--set", "model.n_layers=6"), "There is no setting called 'model.n_layers'"),
        (("--set", "model.n_layer"), "--set needs a setting and its value"),
        (("--set", "model.n_layer=0"), "model.n_layer cannot be 0: it must be a whole number from 1 to 48"),
        (("--set", "model.norm=batch"), "one of layer, rms, none"),
        (("--steps", "0"), "train.steps cannot be 0"),
        (("--device", "tpu"), "train.device cannot be 'tpu'"),
        (("--text", str(tmp_path / "none.txt")), "No such file"),
        (("--text", str(tmp_path)), "Is a directory"),
        (("--text", str(tmp_path / "empty.txt")), "empty"),
        (("--text", str(tmp_path / "broken.txt")), "not valid UTF-8: byte 2"),
        (("--text", str(tmp_path / "broken.txt"), "--encoding", "x"), "There is no encoding called 'x'"),
        (("--text", str(tmp_path / "table.csv"), "--column", "c"), "There is no column 'c' with text"),
        (("--text", str(tmp_path / "short.txt")), "characters"),
        (
            ("--preset", "gpt2", "--set", "train.batch_size=512", *SMALL[:2], "--set", "model.n_embd=1920"),
            "GB of memory",
        ),
        (("--text", str(text_file), "--name", "\x00", *SMALL), "at least one character"),
        (("--text", str(text_file), "--out", str(text_file), *SMALL), "cannot be written"),
    ):
        assert sentence in refused(capsys, "train", *arguments), arguments
    assert list_runs(data_dir) == []


def test_unknown_ambiguous_or_damaged_runs_are_refused(data_dir, capsys, monkeypatch):
    assert "There are no runs yet" in refused(capsys, "generate", "latest")
    save_text(TEXT, "Bottles", data_dir)
    assert main(["runs"]) == 0
    assert "There are no runs yet" in capsys.readouterr().out
    from core.presets import preset

    run = RunFolder.create(data_dir, preset("bigram"), "same-name")
    RunFolder.create(data_dir, preset("bigram"), "same-name")
    assert "There is no run '../../x'" in refused(capsys, "generate", "../../x")
    assert "matches 2 runs" in refused(capsys, "generate", "same-name")
    assert "saved no weights yet" in refused(capsys, "generate", run.id)
    (run.path / "run.json").write_text("{")
    assert "run.json" in refused(capsys, "generate", run.id)
    file = data_dir / "a file"
    file.write_text("")
    monkeypatch.setenv("GPT_EXPLORER_HOME", str(file))
    assert "GPT_EXPLORER_HOME" in refused(capsys, "runs")


def test_a_run_in_another_folder_is_listed_while_it_exists(data_dir, text_file, tmp_path, capsys):
    asked = ["train", "--text", str(text_file), "--steps", "3", "--out", str(tmp_path / "here"), *SMALL]
    assert main([*asked, "--name", "outside"]) == 0
    (path,) = (tmp_path / "here").iterdir()
    assert f"Its folder is {path}." in capsys.readouterr().out
    (listed,) = list_runs(data_dir)
    for wanted in ("latest", "outside", path.name, str(path)):
        assert find_run(wanted, data_dir).path == listed.path and main(["generate", wanted, "--tokens", "5"]) == 0
    assert open_run(data_dir, path.name).record().name == "outside"
    shutil.move(path, tmp_path / path.name)
    assert list_runs(data_dir) == []
    assert main(["generate", str(tmp_path / path.name), "--tokens", "5"]) == 0
    shutil.move(tmp_path / path.name, path)
    assert main(["delete", "outside", "--yes"]) == 0
    assert list_runs(data_dir) == list((tmp_path / "here").iterdir()) == []
    assert not (data_dir / "runs" / path.name).is_symlink()


def test_an_operating_system_error_is_reported_in_a_sentence(data_dir, text_file, capsys):
    assert main(["train", "--text", str(text_file), "--steps", "3", *SMALL]) == 0
    (run,) = list_runs(data_dir)
    capsys.readouterr()
    (run.commands / "0.json").mkdir()
    assert "The operating system refused an operation (Is a directory)" in refused(capsys, "resume", run.id)


def test_resuming_a_running_run_is_refused_and_keeps_its_waiting_commands(data_dir, capsys):
    from core.presets import preset

    run = RunFolder.create(data_dir, preset("bigram"))
    send_command(run, "pause")
    with run.training_lock():
        assert "Another process is already training" in refused(capsys, "resume", run.id)
    assert [command.name for command in waiting_commands(run)] == ["pause"]


def test_presets_and_corpora_are_listed(data_dir, capsys):
    save_text(TEXT, "[bold]Bottles", data_dir)
    assert main(["presets"]) == 0
    assert main(["corpora"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("gpt-quick", "gpt2", "shakespeare", "tinyshakespeare", "python"))
    assert "[bold]Bottles" in out
    assert "99 bottles of beer on the wall, take 1 down" in out
    assert "(downloaded when first used)" in out
    assert len(list((data_dir / "downloads").iterdir())) == 0


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Child processes handle SIGINT even if pytest ignores it, as in a background job of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_saves_the_run_and_prints_how_to_resume_it(heeds_ctrl_c, data_dir, text_file, capsys):
    terminal, its_end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "core", "train", "--text", text_file, "--steps", "900000", *SMALL],
        cwd=ROOT,
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        start_new_session=True,
    )
    os.close(its_end)
    shown = bytearray()

    def running() -> bool:
        shown.extend(read(terminal))
        runs = list_runs(data_dir)
        return bool(runs) and runs[0].status().step > 10

    wait_for(running, "the first steps")
    os.kill(process.pid, signal.SIGINT)
    wait_for(lambda: (shown.extend(read(terminal)), process.poll())[1] is not None, "the process to end")
    shown.extend(read(terminal))
    os.close(terminal)
    output = shown.decode()
    (run,) = list_runs(data_dir)
    status = run.status()
    assert process.returncode == 130
    assert "Traceback" not in output
    assert f"python -m core resume {run.id}" in output
    assert re.search(r"step [\d,]+ of 900,000", output)
    assert status.state == "stopped"

    config = run.record().config.replace({"train.steps": status.step + 5})
    run.write_record(run.record().model_copy(update={"config": config}))
    assert main(["resume", run.id[:20]]) == 0
    steps = [row["step"] for row in run.rows("metrics")]
    assert steps == sorted(set(steps))
    assert steps[-1] == status.step + 5
    assert run.status().attempt == 2


def read(terminal: int) -> bytes:
    """Return the unread output of a terminal."""
    said = b""
    while select.select([terminal], [], [], 0)[0]:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # Linux: the other side is closed
            break
        if not piece:
            break
        said += piece
    return said


@pytest.fixture
def ignored(request) -> Iterator[signal.Signals]:
    """The only signal that this process ignores, as under nohup or as a background job of a script."""
    before = {one: signal.signal(one, signal.SIG_IGN if one == request.param else signal.SIG_DFL) for one in STOPPING}
    yield request.param
    for one, handler in before.items():
        signal.signal(one, handler)


@pytest.mark.parametrize("ignored", STOPPING, indirect=True)
def test_a_signal_ignored_at_the_start_does_not_stop_training(ignored):
    notes, others = [], {*STOPPING} - {ignored}
    request = StopRequest()
    with _stop_by_signal(request, notes.append):
        os.kill(os.getpid(), ignored)
        assert not request.reason and not notes
        assert all(signal.getsignal(other) not in (signal.SIG_IGN, signal.SIG_DFL) for other in others)
    assert signal.getsignal(ignored) == signal.SIG_IGN


def test_the_estimate_command_prints_parameters_and_time_and_caches_its_trial(data_dir, text_file, capsys):
    name = save_text(text_file.read_text(), "bottles", data_dir).name
    assert main(["estimate", "--corpus", name, *SMALL]) == 0
    message = capsys.readouterr().out
    assert re.search(r"^[\d,]+ parameters$", message, re.MULTILINE)
    assert re.search(r"^about .* for [\d,]+ steps$", message, re.MULTILINE)
    assert (data_dir / "trials.json").exists()
    assert "n_layer" in refused(capsys, "estimate", "--set", "model.n_layer=-1")


def test_damaged_weights_are_refused_and_no_older_snapshot_is_used_instead(finished_run, capsys):
    whole = finished_run.weights_path.read_bytes()
    finished_run.snapshots()[-1][1].unlink()  # it has the same step and weights
    for place in (0, len(whole) - 1):  # the length of the header, and the last number
        data = bytearray(whole)
        data[place] ^= 1
        finished_run.weights_path.write_bytes(data)
        message = refused(capsys, "generate", finished_run.id, "--prompt", "T")
        assert "weights.safetensors is" in message and "damaged" in message and "\n" not in message.strip()
        assert "weights.safetensors is" in refused(capsys, "export", finished_run.id, "nanogpt", "never.pt")
        with pytest.raises(RunError, match="damaged"):
            fork(finished_run.path.parents[1], finished_run, None, finished_run.record().config)
    assert not Path("never.pt").exists()


def test_a_large_text_is_saved_only_after_the_settings_are_valid(data_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("core.text.own_text.MAX_BYTES", 20_000)
    monkeypatch.setattr("core.text.large_text.MAX_BYTES", 20_000)
    (tmp_path / "large.txt").write_text(TEXT * 400)
    large = ["--text", str(tmp_path / "large.txt"), *SMALL]
    assert main(["train", *large, "--dump-config"]) == 0
    assert "must be" in refused(capsys, "train", *large, "--set", "train.batch_size=0")
    assert not (data_dir / "texts").exists()
    assert main(["train", *large, "--steps", "2"]) == 0
    (text,) = own_texts(data_dir)
    assert text.title == "large" and text.characters == len(TEXT) * 400
