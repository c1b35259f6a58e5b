"""A run's colour: handed out when the run is first shown, and kept, whatever becomes of the other runs."""

import logging
from collections.abc import Iterable
from pathlib import Path

from core.atomic_io import parse_json, write_json
from explorer.charts.palette import Palette, run_places

log = logging.getLogger(__name__)


def colors_of(run_ids: Iterable[str], data_dir: Path, palette: Palette) -> dict[str, str]:
    """A colour for every run of the home, by its id; those that are new get one for good.

    Args:
        run_ids: of all runs there are: a deleted one's colour is free again.
    """
    path = data_dir / "run_colors.json"
    kept = _kept(path)
    places = run_places(run_ids, kept)
    if places != kept:
        try:
            write_json(path, places, durable=False)
        except OSError as error:  # a full disk, say: the colours are as good, just not kept
            log.warning("the colours of the runs cannot be kept: %s", error)
    return {run_id: palette.runs[place] for run_id, place in places.items()}


def _kept(path: Path) -> dict[str, int]:
    try:
        return {str(run_id): int(place) for run_id, place in parse_json(path.read_bytes()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
