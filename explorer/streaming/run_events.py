"""Server-sent events for what was written to a run folder since a position; their ids are the next positions."""

import json
import re
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Self
from zlib import crc32

import numpy as np

from core.errors import ExplorerError, TextError
from core.interpretability.embeddings import align, project
from core.runs.commands import config_at
from core.runs.documents import progress_of
from core.runs.folder import RunFolder
from core.runs.machine import run_gauge
from core.runs.records import ENDED, Probe
from core.runs.weights import steps_with_weights, vocab_size_of
from core.text.token_display import kind_of, visible
from core.text.tokenizers import load_tokenizer
from core.training.gauge import ADVICE, PARTS
from core.training.pace import SLOWED, Pace
from core.training.progress_summary import SENTENCES
from explorer.i18n.formatting import part_in_words
from explorer.streaming.jsonl_tail import (
    COLUMNS,
    MAX_ROWS,
    Chunk,
    FilePosition,
    contains_between,
    curve,
    curve_rows,
    file_version,
    is_unchanged,
    last_line_end,
    read_chunks,
)

MAX_EVENTS = 3000  # of history sent to a new watcher
MAX_SAMPLES = 200  # of those, because each is a whole text
MAX_TOKENS = 400  # on the embedding map; more would be illegible
_CROWD = 0.95  # quantile, from either end, of the points that set the map's scale
_STRETCH = 2.0  # of the flatter direction, at most
_GAUGE_SECONDS = 2.0  # between two comparisons of a run with its machine
ROWS = ("metrics", "samples", "events")


class Position(NamedTuple):
    """How much of a run folder a watcher has received."""

    metrics: FilePosition = FilePosition()
    samples: FilePosition = FilePosition()
    events: FilePosition = FilePosition()
    probe: int = 0  # modification time of the probe file, in ns
    status: int = 0  # checksum of the last status
    step_detail: int = 0  # modification time of its file, in ns

    def __str__(self) -> str:
        return ".".join(f"{number:x}" for number in (*self.metrics, *self.samples, *self.events, *self[3:]))

    @classmethod
    def parse(cls, cursor: str) -> Self:
        """Parse a cursor; anything else gives the start position."""
        if not re.fullmatch(r"[0-9a-f]{1,16}(\.[0-9a-f]{1,16}){8}", cursor):
            return cls()
        numbers = [int(part, 16) for part in cursor.split(".")]
        return cls(FilePosition(*numbers[0:2]), FilePosition(*numbers[2:4]), FilePosition(*numbers[4:6]), *numbers[6:])


def event(name: str, data: str, cursor: str = "") -> str:
    """Return one server-sent event (WHATWG HTML, section 9.2). data: JSON, so it has no line breaks."""
    return f"{f'id: {cursor}' + chr(10) if cursor else ''}event: {name}\ndata: {data}\n\n"


class RunReader:
    """Reader of one run folder for a stream. Used by one thread at a time, except for `events_between`."""

    def __init__(self, folder: RunFolder):
        self.folder = folder
        self.paths = {"metrics": folder.metrics_path, "samples": folder.samples_path, "events": folder.events_path}
        self.ended = False
        self.state = ""
        self._payloads: dict[str, str] = {}  # the last status, attention, embedding and step detail, as JSON
        self._row_ends: dict[str, tuple[tuple, FilePosition]] = {}
        self._label: tuple[tuple, str] = ((), "")  # when the record was last changed, and the name in it
        self._probe = 0
        self._baselines: dict[str, float] | None = None
        self._progress: dict[str, Any] | None = None
        self._judged_by: list[Any] = []  # the input of the progress, besides the metrics
        self._judged_until = FilePosition()
        self._points: np.ndarray | None = None
        self._vocabulary: tuple[str, ...] = ()
        self._step_detail = 0
        self._pace: dict[str, float] | None = None
        self._gauge: dict[str, Any] | None = None
        self._gauge_due = 0.0

    def current_position(self) -> Position:
        """Return the current position. The status is read first, so that no rows before an end are missed."""
        now = self.folder.status()
        status = json.loads(now.model_dump_json())
        self.ended, self.state = status["state"] in ENDED, status["state"]
        status["name"] = self._name()
        self._baselines = self._baselines or self.folder.read_baselines()  # computed once, shortly after the start
        status["baselines"] = self._baselines
        status["saved_steps"] = steps_with_weights(self.folder)
        ends = {name: self._row_end(name) for name in ROWS}
        status["progress"] = self._judged(status, ends)
        status["gauge"] = self._gauged(status.pop("pace"))
        status["slowdown"] = _notable(now.slowdown) if self.ended else None
        self._payloads["status"] = json.dumps(status)
        self._read_probe()
        self._read_step_detail()
        changing = json.dumps({key: value for key, value in status.items() if key != "updated"})
        return Position(**ends, probe=self._probe, status=crc32(changing.encode()), step_detail=self._step_detail)

    def events_between(self, since: Position, upto: Position) -> Iterator[str]:
        """Yield the events between two positions, each with the cursor after it."""
        payloads = dict(self._payloads)
        at = since
        if since.status != upto.status:
            at = at._replace(status=upto.status)
            yield event("status", payloads["status"], str(at))
        for name in ("samples", "events"):
            for rows, end in self._rows_between(name, getattr(since, name), getattr(upto, name)):
                at = at._replace(**{name: end})
                yield event(name, rows, str(at))
        if since.step_detail != upto.step_detail and "step_detail" in payloads:
            at = at._replace(step_detail=upto.step_detail)
            yield event("step_detail", payloads["step_detail"], str(at))
        if since.probe != upto.probe:
            # The cursor moves on only after the second event, so neither can be missed.
            if "attention" in payloads:
                yield event("attention", payloads["attention"], str(at))
            at = at._replace(probe=upto.probe)
            if "embedding" in payloads:
                yield event("embedding", payloads["embedding"], str(at))
        # Metrics take longest for a long run, so they come last.
        for rows, end in self._rows_between("metrics", since.metrics, upto.metrics):
            at = at._replace(metrics=end)
            yield event("metrics", rows, str(at))

    def _rows_between(self, name: str, start: FilePosition, end: FilePosition) -> Iterator[tuple[str, FilePosition]]:
        if start == end:
            return
        goes_on = 0 < start.offset <= end.offset and is_unchanged(self.paths[name], start)
        chunks = self._chunks(name, start if goes_on else FilePosition(), end)
        first = next(chunks, Chunk([], end))
        yield _as_json(first, reset=not goes_on), first.end
        for chunk in chunks:
            yield _as_json(chunk), chunk.end

    def _chunks(self, name: str, start: FilePosition, end: FilePosition) -> Iterator[Chunk]:
        path = self.paths[name]
        if name != "metrics":
            return read_chunks(path, start, end, MAX_SAMPLES if name == "samples" else MAX_EVENTS)
        return read_chunks(path, start, end, MAX_ROWS, COLUMNS) if start.offset else curve(path).chunks(end)

    def _row_end(self, name: str) -> FilePosition:
        version = file_version(self.paths[name])
        if self._row_ends.get(name, (None,))[0] != version:
            self._row_ends[name] = version, last_line_end(self.paths[name], version[2])
        return self._row_ends[name][1]

    def _judged(self, status: dict[str, Any], ends: Mapping[str, FilePosition]) -> dict[str, Any] | None:
        """Return how training is going, updated after every measurement, from the same rows that are sent with it."""
        basis = [ends["events"], *(status[name] for name in ("attempt", "state", "problem", "saved_steps"))]
        until, rows = ends["metrics"], self.paths["metrics"]
        if basis != self._judged_by or contains_between(rows, self._judged_until, until, b'"val_loss"'):
            progress = progress_of(self.folder, curve_rows(self.folder, until))
            self._progress = progress and {
                "sentence": SENTENCES[progress.kind],
                "numbers": progress.numbers,
                "trouble": progress.trouble,
                "milestones": dict(progress.milestones),
                "back": progress.back if progress.back in status["saved_steps"] else None,
            }
        self._judged_by, self._judged_until = basis, until
        return self._progress

    def _gauged(self, pace: dict[str, float] | None) -> dict[str, Any] | None:
        """Return the run's speed relative to its machine, updated every few seconds; None before it has a pace."""
        if pace is None or (time.monotonic() < self._gauge_due and not self.ended):
            return self._gauge
        if pace != self._pace:
            self._gauge_due, self._pace = time.monotonic() + _GAUGE_SECONDS, pace
            with suppress(ExplorerError):  # a damaged record, or a missing vocabulary
                self._gauge = _gauge_of(self.folder, Pace.parse(pace))
        return self._gauge

    def _name(self) -> str:
        version = file_version(self.folder.record_path)
        if self._label[0] != version:
            self._label = version, self.folder.name
        return self._label[1]

    def _read_probe(self) -> None:
        changed = file_version(self.folder.probe_path)[1]
        if changed not in (0, self._probe) and (probe := self.folder.read_probe()):
            self._probe = changed
            self._payloads.update(self._probe_events(probe))

    def _read_step_detail(self) -> None:
        changed = file_version(self.folder.step_detail_path)[1]
        if changed not in (0, self._step_detail) and (detail := read_step_detail(self.folder)):
            self._step_detail = changed
            self._payloads["step_detail"] = json.dumps(detail)

    def _map_tokens(self) -> tuple[str, ...]:
        if not self._vocabulary:
            try:
                self._vocabulary = load_tokenizer(self.folder.tokenizer_path).tokens[:MAX_TOKENS]
            except TextError:
                return ()
        return self._vocabulary

    def _probe_events(self, probe: Probe) -> Iterator[tuple[str, str]]:
        layers, heads, length = probe.attention.shape[:3]
        if layers:
            attention = {
                "step": probe.step,
                "layers": layers,
                "heads": heads,
                "length": length,
                "tokens": [visible(token) for token in probe.tokens],
                "bytes": b64encode(np.ascontiguousarray(probe.attention).tobytes()).decode("ascii"),
            }
            yield "attention", json.dumps(attention)
        tokens = self._map_tokens()
        vectors = probe.embedding[: len(tokens)].astype(np.float32)
        if len(vectors) >= 3 and np.isfinite(vectors).all():
            points, before = project(vectors, "pca", 2), self._points
            if before is not None and before.shape == points.shape:  # PCA may flip at any step
                points = align(points, before)
            self._points = points
            embedding = {
                "step": probe.step,
                "tokens": [visible(token) for token in tokens],
                "kinds": [kind_of(token) for token in tokens],
                "xy": np.round(scale_to_square(points), 4).tolist(),
            }
            yield "embedding", json.dumps(embedding)


def _gauge_of(folder: RunFolder, pace: Pace) -> dict[str, Any]:
    """Return what assets/components/dashboard/gauge.js draws; raises ExplorerError if the run cannot be read."""
    gauge = run_gauge(folder.record(), config_at(folder), pace, vocab_size_of(folder), folder.path.parents[1])
    colors = {part: place % 10 for place, part in enumerate(PARTS)}  # of a palette's ten
    parts = gauge.shares.items()
    return {
        "tokens_per_second": gauge.tokens_per_second,
        "slowdown": _notable(pace.slowdown),
        "peak": gauge.peak,
        "peak_share": gauge.peak_share,
        "parts": [{"name": PARTS[part], "share": share, "color": colors[part]} for part, share in parts],
        "advice": [{"sentence": ADVICE[each.kind], "numbers": each.numbers} for each in gauge.advice],
    }


def _notable(slowdown: float) -> float | None:
    return slowdown if slowdown >= SLOWED else None


def _as_json(chunk: Chunk, *, reset: bool = False) -> str:
    return f'{{"rows": [{", ".join(chunk.rows)}]' + (', "reset": true}' if reset else "}")


def scale_to_square(points: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    """Scale points (V, 2) to the square from -1 to 1 by the center and scale of `like`.

    Outliers are clipped to its border.

    The flatter direction is stretched to fill the square, by `_STRETCH` at most.
    """
    like = (points if like is None else like).astype(np.float64)
    low, high = np.quantile(like, [1 - _CROWD, _CROWD], axis=0)
    half = np.maximum(1.15 * (high - low) / 2, 1e-9)
    half = np.maximum(half, half.max() / _STRETCH)
    points = (points.astype(np.float64) - (low + high) / 2) / half
    return points / np.maximum(np.abs(points).max(axis=1, keepdims=True), 1.0)


def read_step_detail(folder: RunFolder) -> dict[str, Any] | None:
    """Return the last single step of a run for assets/components/step_detail/view.js; None if there is none to read."""
    detail = folder.read_step_detail()
    if detail is None:
        return None
    try:
        tokens = load_tokenizer(folder.tokenizer_path).tokens
        return {
            "step": detail.step,
            "loss": detail.loss,
            "before": detail.before,
            "after": detail.after,
            "batch_size": detail.batch_size,
            "sequences": [
                {
                    "tokens": [visible(tokens[id]) for id in [*inputs[:1], *targets]],
                    "losses": losses,
                    "counted": (detail.counted or [[True] * len(targets)] * len(detail.targets))[row],
                }
                for row, (inputs, targets, losses) in enumerate(
                    zip(detail.inputs, detail.targets, detail.losses, strict=True)
                )
            ],
            "parts": [
                {"name": part_in_words(part), "gradient": gradient, "weight": detail.weight_norms.get(part)}
                for part, gradient in detail.gradient_norms.items()
            ],
        }
    except (TextError, IndexError, ValueError):  # a damaged file
        return None
