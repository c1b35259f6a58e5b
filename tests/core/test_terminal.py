"""Output suits every terminal, contains no control characters, and never stops a training."""

import io
import os
import sys
from pathlib import Path

import pytest

from core.cli import main
from core.runs.folder import list_runs
from core.terminal import SafeStream
from core.text.own_text import save_text
from core.text.token_display import printable
from tests.core.cli.test_command_line import SMALL, data_dir, text_file  # noqa: F401 - fixtures

TRAIN = ["train", "--steps", "2", *SMALL, "--set", "train.eval_interval=1"]


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-2", "utf-8"])
def test_a_terminal_encoding_without_our_symbols_does_not_stop_a_run(data_dir, text_file, monkeypatch, encoding):  # noqa: F811
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding))
    assert main([*TRAIN, "--text", str(text_file), "--name", "naïve 日本"]) == 0
    said = written.getvalue().decode(encoding)
    assert f"step 2 of 2 {'·' if encoding == 'utf-8' else '-'} training" in said
    assert main(["runs"]) == main(["corpora"]) == main(["presets"]) == 0
    assert list_runs(data_dir)[0].status().state == "finished"


def full_disk() -> io.TextIOWrapper:
    return Path("/dev/full").open("w", buffering=1)


def gone_reader() -> io.TextIOWrapper:
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w", buffering=1)


@pytest.mark.parametrize("output", [full_disk, gone_reader])
def test_an_unwritable_output_does_not_stop_a_run(data_dir, text_file, monkeypatch, output):  # noqa: F811
    with output() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main([*TRAIN, "--text", str(text_file)]) == 0
    assert list_runs(data_dir)[0].status().state == "finished"


def test_writing_to_a_closed_output_is_ignored():
    stream = SafeStream(io.StringIO())
    stream.write("once")
    assert stream.getvalue() == "once"
    stream.close()
    stream.write("again")
    stream.flush()


def test_control_characters_are_printed_as_symbols(data_dir, tmp_path, capsys):  # noqa: F811
    red = "\x1b[31mred\x07 \x9b0m\u202e\r\x7f"
    (tmp_path / "ansi.txt").write_bytes(f"{red}\n\ttab\n".encode() * 60)
    assert main([*TRAIN, "--text", str(tmp_path / "ansi.txt")]) == 0
    assert main(["generate", "latest", "--prompt", "[31m", "--tokens", "300", "--temperature", "2"]) == 0
    (run,) = list_runs(data_dir)
    path = run.record_path
    path.write_text(
        path.read_text().replace(run.name, r"\u001b[31mname")
    )  # edited by hand: names from the app have none
    save_text(red * 60, "own", data_dir)
    assert main(["runs"]) == main(["corpora"]) == 0
    assert main(["train", "--corpus", red]) == main(["generate", red]) == 2
    assert main(["export", "latest", "script", str(tmp_path / red)]) == 0
    out, err = capsys.readouterr()
    for said in (out, err):
        assert not set(said) & set("\x1b\x07\x9b\u202e\r\x7f")
    assert "␛" in out and "␛[31mname" in out and "\n" in out and "\t" in out


def test_printable_replaces_control_characters_and_keeps_everything_else():
    assert printable("a\tb\n") == "a\tb\n"
    assert printable("\x1b[2J\x00\x7f\x85\u2028\ud800") == "␛[2J␀␡<U+0085><U+2028><U+D800>"
    assert printable("é👩\u200d🔬שלום かな") == "é👩\u200d🔬שלום かな"
