"""How a run's training is going, read off its folder."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.runs.folder import RunFolder
from core.runs.setting_changes import TURN
from core.training.progress_summary import ProgressSummary, SettingChange, summarize_progress


def progress_of(folder: RunFolder, rows: Sequence[Mapping[str, Any]]) -> ProgressSummary | None:
    """Judge a run by its rows of metrics, in one sentence; None where nothing was ever measured.

    Args:
        rows: all, or thinned as long as every measured one is among them.
    """
    if not rows:
        return None
    status = folder.status()
    changes = [
        SettingChange(row["step"], row["knob"], row.get("before"), row.get("value"))
        for row in folder.read_events()
        if row.get("kind") == TURN and isinstance(row.get("step"), int) and isinstance(row.get("knob"), str)
    ]
    return summarize_progress(
        rows,
        changes,
        folder.moments(),
        ended=status.ended,
        not_finite=status.problem == "not_finite",
        uniform=(folder.read_baselines() or {}).get("uniform"),
    )
