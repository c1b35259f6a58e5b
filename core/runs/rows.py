"""What a run writes down row by row: metrics, samples and events, in files that are only ever appended to."""

from collections.abc import Mapping
from typing import Any

from core.atomic_io import append_row, last_rows, read_rows
from core.runs.paths import RunPaths


class RunRows(RunPaths):
    """The part of a run's folder that grows."""

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        append_row(self.metrics_path, row)

    def append_sample(self, row: Mapping[str, Any]) -> None:
        append_row(self.samples_path, row)

    def append_event(self, row: Mapping[str, Any], *, durable: bool = False) -> None:
        append_row(self.events_path, row, durable=durable)

    def read_metrics(self) -> list[dict[str, Any]]:
        return read_rows(self.metrics_path)

    def last_metrics(self) -> dict[str, Any] | None:
        """The newest row, however long the file; None before the first."""
        return next((row for _, row in last_rows(self.metrics_path)), None)

    def last_losses(self) -> dict[str, float | None]:
        """`train_loss` and `val_loss` as last measured; None before that."""
        measured = (row for _, row in last_rows(self.metrics_path) if "val_loss" in row)
        row = next(measured, {})
        return {name: row.get(name) for name in ("train_loss", "val_loss")}

    def read_samples(self) -> list[dict[str, Any]]:
        return read_rows(self.samples_path)

    def read_events(self) -> list[dict[str, Any]]:
        return read_rows(self.events_path)
