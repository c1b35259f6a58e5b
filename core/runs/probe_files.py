"""What the live board draws beside the curves: the probe, a step seen closely, and what counting reaches."""

import json
from collections.abc import Mapping

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from core.atomic_io import parse_json, write_atomically, write_json
from core.errors import RunError
from core.runs.paths import RunPaths
from core.runs.records import Probe, StepDetail


class RunPictures(RunPaths):
    """The part of a run's folder that shows how the model is now."""

    def write_probe(self, step: int, attention: np.ndarray, embedding: np.ndarray, tokens: list[str]) -> None:
        """Replace what the live board draws. attention: uint8 (L, H, T, T); embedding: float16 (V, C)."""
        arrays = {"attention": np.ascontiguousarray(attention), "embedding": np.ascontiguousarray(embedding)}
        data = save(arrays, metadata={"step": str(step), "tokens": json.dumps(tokens)})
        write_atomically(self.probe_path, data, durable=False)

    def read_probe(self) -> Probe | None:
        """What the live board draws; None if there is nothing yet, or nothing readable."""
        try:
            with safe_open(self.probe_path, "np") as file:
                told = file.metadata()
                arrays = (file.get_tensor("attention"), file.get_tensor("embedding"))
                return Probe(int(told["step"]), *arrays, parse_json(told["tokens"]))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None

    def write_step_detail(self, step_detail: StepDetail) -> None:
        """Replace the step that is shown closely."""
        write_atomically(self.step_detail_path, step_detail.model_dump_json().encode(), durable=False)

    def read_step_detail(self) -> StepDetail | None:
        """The last step that was taken singly; None if there was none, or nothing readable."""
        try:
            return StepDetail.model_validate(self._read_json(self.step_detail_path))
        except (RunError, ValidationError):
            return None

    def read_baselines(self) -> dict[str, float] | None:
        """The losses that counting reaches on the same text, nats a token; None before they are counted."""
        try:
            return self._read_json(self.baselines_path)
        except RunError:
            return None

    def write_baselines(self, baselines: Mapping[str, float]) -> None:
        write_json(self.baselines_path, dict(baselines))
