"""What a run is: its record, which a worker fills in and users rename."""

from typing import Any

from pydantic import ValidationError

from core.atomic_io import lock, write_atomically
from core.config import RunConfig
from core.errors import ConfigError, RunError
from core.runs.names import clean_name
from core.runs.paths import RunPaths
from core.runs.records import RunRecord


class RunIdentity(RunPaths):
    """The part of a run's folder that says what it is."""

    def record(self) -> RunRecord:
        """What the run is. Raises RunError, in a sentence, where `run.json` is missing or damaged."""
        data = self._read_json(self.record_path)
        try:
            config = RunConfig.parse(data.get("config"))
            return RunRecord.model_validate({**data, "id": self.id, "config": config})
        except ConfigError as error:
            raise RunError(f"The settings in run.json of run {self.id} cannot be used: {error}") from None
        except ValidationError as error:
            field = ".".join(map(str, error.errors()[0]["loc"]))
            raise RunError(f"The file run.json of run {self.id} is damaged: {field} is missing or wrong.") from None

    def write_record(self, record: RunRecord) -> None:
        with self._writing("changed"):
            write_atomically(self.record_path, record.model_dump_json(indent=2).encode())

    def update_record(self, **changes: Any) -> None:
        """Change some fields of the record as it is now, whatever other processes change in others meanwhile."""
        with self._writing("changed"):
            file = (self.path / ".record.lock").open("ab")
        with file:
            lock(file)
            self.write_record(self.record().model_copy(update=changes))

    def rename(self, name: str) -> None:
        """Give the run another label. Its folder and its id stay as they are."""
        self.update_record(name=clean_name(name))
