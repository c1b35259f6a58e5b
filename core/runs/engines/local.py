"""The engine of this machine: workers as its processes."""

import signal
from pathlib import Path

from core.errors import RunError
from core.runs.engines.engine import Engine, Host
from core.runs.engines.fork_server import FORK_SERVER
from core.runs.folder import RunFolder
from core.runs.machine import slots as machine_slots
from core.runs.processes import end_orphans, kill, send_signal
from core.runs.records import Status


class LocalEngine(Engine):
    """Workers as processes of this machine."""

    def start(self, data_dir: Path) -> None:
        FORK_SERVER.ensure_running(data_dir)

    def capacity(self) -> int:
        return machine_slots()

    def submit(self, home: Path, folder: RunFolder, status: Status) -> None:
        FORK_SERVER.start_worker(home, folder, status)

    def poll(self, folder: RunFolder, status: Status) -> bool:
        return status.has_worker(folder.lock_path)

    def cancel(self, folder: RunFolder, status: Status, number: signal.Signals = signal.SIGKILL) -> None:
        if status.host:
            raise RunError(
                f"The run {folder.name!r} trains on {status.host}, a host of a Ray cluster. Only an app with --engine "
                "ray can end its process."
            )
        if number == signal.SIGKILL:
            kill(status.process)
            end_orphans(status.process)
        else:
            send_signal(status.process, number)

    def hosts(self) -> list[Host]:
        return []

    def close(self) -> None:
        pass  # all use the one fork server
