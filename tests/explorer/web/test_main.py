"""`python -m explorer`: its help, and its messages if it cannot start."""

import asyncio
import signal
import socket
import subprocess
import sys

import pytest
import uvicorn

from core.errors import ExplorerError
from core.runs.processes import not_ignored
from explorer.__main__ import check_free, main
from explorer.widgets.address import ROOT


@pytest.fixture
def taken_port():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_help_lists_the_options():
    command = [sys.executable, "-m", "explorer", "--help"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(option in output for option in ("--port", "--address", "--home", "--dev", "127.0.0.1"))


@pytest.mark.parametrize(
    ("address", "open_to_others"),
    [("127.0.0.1", False), ("::1", False), ("localhost", False), ("0.0.0.0", True), ("::", True), ("192.0.2.9", True)],
)
def test_serving_on_a_public_address_warns_that_there_is_no_password(address, open_to_others):
    from explorer.web.server import _greeting

    assert ("no password" in _greeting(address, 8501, "")) == open_to_others


def test_a_port_in_use_is_reported_with_a_free_port_to_try(taken_port, explorer_home, capsys):
    assert main(["--port", str(taken_port)]) == 2
    output = capsys.readouterr()
    assert f"Port {taken_port} is in use" in output.err and f"--port {taken_port + 1}" in output.err
    assert "Traceback" not in output.err and output.out == ""


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(ExplorerError, match=r"one of this machine's"):
        check_free("203.0.113.7", 8501)


def test_a_home_that_cannot_be_written_is_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GPT_EXPLORER_HOME", "set back by monkeypatch")
    file = tmp_path / "file"
    file.write_text("not a folder")
    assert main(["--home", str(file)]) == 2
    assert "cannot write there" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http"])
def test_an_invalid_port_is_refused(port, capsys):
    with pytest.raises(SystemExit):
        main([f"--port={port}"])
    assert "from 1 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize("ignored", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ignored_at_startup_stays_ignored_while_serving(ignored):
    from explorer.streaming.broadcaster import Broadcaster
    from explorer.web.server import _streams_end_first

    async def serve() -> dict:
        handled = not_ignored(signal.SIGINT, signal.SIGTERM)
        server = uvicorn.Server(uvicorn.Config(lambda: None))
        with server.capture_signals(), _streams_end_first(Broadcaster(), handled):
            return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(ignored, signal.SIG_IGN)  # the other signal is not ignored, even if the tests run in the background
    try:
        during = asyncio.run(serve())
        assert signal.getsignal(ignored) == signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert {number for number, handler in during.items() if handler == signal.SIG_IGN} == {ignored}
