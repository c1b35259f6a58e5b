"""The colours of `core.palette` as charts use them: by theme, by run, and as plotly's colour scales."""

from collections import Counter
from collections.abc import Iterable, Mapping
from zlib import crc32

from core.palette import DARK, LIGHT, Palette

__all__ = ["DARK", "LIGHT", "Palette", "both_palettes", "colorscale", "palette_for", "run_places"]


def palette_for(theme: str | None) -> Palette:
    """The palette of a theme by Streamlit's word for it, "light" or "dark" (None counts as light)."""
    return DARK if theme == "dark" else LIGHT


def run_places(run_ids: Iterable[str], kept: Mapping[str, int] | None = None) -> dict[str, int]:
    """Each run's place among the colours for runs (`Palette.runs`).

    A run keeps the place it has. A new one takes the place that follows from its id, or where that is taken the next
    that the fewest have; so as many runs as there are colours all differ.

    Args:
        kept: places handed out before, by run id.
    """
    ids, count = sorted(set(run_ids)), len(LIGHT.runs)
    places = {run_id: kept[run_id] % count for run_id in ids if run_id in (kept or {})}
    for run_id in ids:
        if run_id not in places:
            crowds = Counter(places.values())
            first = crc32(run_id.encode())
            order = [(first + further) % count for further in range(count)]
            places[run_id] = min(order, key=lambda place: crowds[place])
    return places


def colorscale(stops: tuple[str, ...]) -> list[list]:
    """Stops as plotly wants a colour scale: [[0, colour], ..., [1, colour]]."""
    return [[index / (len(stops) - 1), color] for index, color in enumerate(stops)]


def both_palettes() -> dict[str, dict]:
    """Light and dark for a browser component, which picks by the page's background at the moment."""
    return {"light": LIGHT.to_dict(), "dark": DARK.to_dict()}
