"""Start the app as a user does, in its own process with its own data folder."""

import os
import socket
import subprocess
import sys
import urllib.request
from contextlib import closing, suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]


class Server:
    """`python -m explorer` in its own process, started and killed as by a user, with short trainings in its lessons."""

    def __init__(self, data_dir: Path, *options: str):
        self.data_dir, self.options = data_dir, options
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "GPT_EXPLORER_HOME": str(self.data_dir),
            "GPT_EXPLORER_PREWARM": "1",
        }
        self.log = (self.data_dir.parent / f"{self.data_dir.name}.log").open("a")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.short_lessons", "--port", str(self.port), *self.options],
            cwd=self.data_dir.parent, env=environment, stdout=self.log, stderr=self.log,
        )  # fmt: skip
        while not self.answers():
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=0.1)
                raise AssertionError(Path(self.log.name).read_text())

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=5):
                return True
        except OSError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        for process in psutil.process_iter(["cmdline", "environ"]):
            if (process.info["environ"] or {}).get("GPT_EXPLORER_HOME") == str(self.data_dir):
                process.kill()
