"""Where everything of a run lies: the only file that spells the names in a run's folder."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.atomic_io import FULL, parse_json
from core.errors import DiskFullError, RunError

# What of a run's folder is taken from a zip of it, by the names below.
TRAVELLING = re.compile(
    r"(run|status|baselines|closeup|tokenizer)\.json|(metrics|events|samples)\.jsonl|(weights|start)\.safetensors"
    r"|probes/latest\.safetensors|snapshots/step-\d{8}\.safetensors"
    r"|checkpoints/step-\d{8}-[0-9a-f]{64}\.safetensors",
    re.ASCII,
)


class RunPaths:
    """The names in one run's folder, and how its files are read and written so that refusals become sentences."""

    def __init__(self, path: Path):
        self.path = path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def record_path(self) -> Path:
        return self.path / "run.json"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def events_path(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def samples_path(self) -> Path:
        return self.path / "samples.jsonl"

    @property
    def status_path(self) -> Path:
        return self.path / "status.json"

    @property
    def baselines_path(self) -> Path:
        return self.path / "baselines.json"

    @property
    def step_detail_path(self) -> Path:
        return self.path / "closeup.json"

    @property
    def start_path(self) -> Path:
        """The weights that a fork begins with; absent in any other run."""
        return self.path / "start.safetensors"

    @property
    def lock_path(self) -> Path:
        """Locked by the one process that trains in the folder."""
        return self.path / "worker.lock"

    @property
    def tokenizer_path(self) -> Path:
        return self.path / "tokenizer.json"

    @property
    def log_path(self) -> Path:
        return self.path / "worker.log"

    @property
    def probe_path(self) -> Path:
        return self.probes / "latest.safetensors"

    @property
    def weights_path(self) -> Path:
        """The weights as of the last checkpoint, pause or end."""
        return self.path / "weights.safetensors"

    @property
    def probes(self) -> Path:
        return self.path / "probes"

    @property
    def snapshots_folder(self) -> Path:
        return self.path / "snapshots"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def commands(self) -> Path:
        return self.path / "commands"

    @property
    def name(self) -> str:
        """The label, or the id where it cannot be read. Never raises."""
        try:
            return str(self._read_json(self.record_path)["name"])
        except (RunError, KeyError):
            return self.id

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """Turn the system's refusal to write into a RunError that says what cannot be done to the run, and why."""
        try:
            yield
        except FileNotFoundError:
            raise RunError(f"The run {self.id} has been deleted, so it cannot be {what}.") from None
        except OSError as error:
            kind = DiskFullError if error.errno in FULL else RunError
            raise kind(f"The run {self.name!r} cannot be {what}, because of its folder: {error.strerror}.") from None

    def _read_json(self, path: Path) -> dict[str, Any]:
        try:
            data = parse_json(path.read_bytes())
        except FileNotFoundError:
            raise RunError(f"The run {self.id} has no {path.name}: the file is missing.") from None
        except OSError as error:
            raise RunError(f"The file {path.name} of run {self.id} cannot be read ({error.strerror}).") from None
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise RunError(f"The file {path.name} of run {self.id} is damaged: it ends too early or is not JSON.")
        return data
