"""A run's colour: handed out when the run is first shown, and kept, whatever becomes of the other runs."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from zlib import crc32

from core.atomic_io import parse_json, write_json
from core.palette import LIGHT, Palette

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


def run_places(run_ids: Iterable[str], stored: Mapping[str, int] | None = None) -> dict[str, int]:
    """Return each run's place among the colours for runs (`Palette.runs`).

    A run keeps the place it has. A new one takes the place that follows from its id, or where that is taken the next
    that the fewest have; so as many runs as there are colours all differ.

    Args:
        stored: places handed out before, by run id.
    """
    ids, count = sorted(set(run_ids)), len(LIGHT.runs)
    places = {run_id: stored[run_id] % count for run_id in ids if run_id in (stored or {})}
    for run_id in ids:
        if run_id not in places:
            crowds = Counter(places.values())
            first = crc32(run_id.encode())
            order = [(first + further) % count for further in range(count)]
            places[run_id] = min(order, key=lambda place: crowds[place])
    return places


def _kept(path: Path) -> dict[str, int]:
    try:
        return {str(run_id): int(place) for run_id, place in parse_json(path.read_bytes()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
