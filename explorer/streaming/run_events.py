"""What a run's folder tells since a position in it: server-sent events, whose ids say the position behind them."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self
from zlib import crc32

import numpy as np

from core.errors import TextError
from core.interpretability.embeddings import align, project
from core.runs.documents import progress_of
from core.runs.folder import RunFolder
from core.runs.records import ENDED, Probe
from core.runs.weights import steps_with_weights
from core.text.token_display import kind_of, visible
from core.text.tokenizers import load_tokenizer
from core.training.progress_summary import SENTENCES
from explorer.streaming.curves import COLUMNS, MOST_ROWS, curve, curve_rows
from explorer.streaming.jsonl_tail import Mark, Piece, holds, holds_between, last_mark, read_pieces
from explorer.streaming.step_detail import read_step_detail

MOST_EVENTS = 3000  # of history sent to a new watcher
MOST_SAMPLES = 200  # of them, as each is a whole text
MOST_TOKENS = 400  # on the embedding map; more cannot be read
_CROWD = 0.95  # share of the letters whose place decides on the scale of the map, from either end
_STRETCH = 2.0
ROWS = ("metrics", "samples", "events")


class Position(NamedTuple):
    """How far a watcher has come in everything that a stream tells."""

    metrics: Mark = Mark()
    samples: Mark = Mark()
    events: Mark = Mark()
    probe: int = 0  # modification time of the probe file, in ns
    status: int = 0  # checksum of the status told last
    step_detail: int = 0  # modification time of the closeup's file, in ns

    def __str__(self) -> str:
        """The cursor."""
        return ".".join(f"{number:x}" for number in (*self.metrics, *self.samples, *self.events, *self[3:]))

    @classmethod
    def parse(cls, cursor: str) -> Self:
        """The position of a cursor; the very beginning for anything that is none of ours."""
        if not re.fullmatch(r"[0-9a-f]{1,16}(\.[0-9a-f]{1,16}){8}", cursor):
            return cls()
        numbers = [int(part, 16) for part in cursor.split(".")]
        return cls(Mark(*numbers[0:2]), Mark(*numbers[2:4]), Mark(*numbers[4:6]), *numbers[6:])


def event(name: str, data: str, cursor: str = "") -> str:
    """One server-sent event (WHATWG HTML, section 9.2). data: JSON, so it has no line breaks."""
    return f"{f'id: {cursor}' + chr(10) if cursor else ''}event: {name}\ndata: {data}\n\n"


class RunReader:
    """Reads one run's folder for a stream. Used by one thread at a time, except for `between`."""

    def __init__(self, folder: RunFolder):
        self.folder = folder
        self.paths = {"metrics": folder.metrics_path, "samples": folder.samples_path, "events": folder.events_path}
        self.ended = False
        self.state = ""
        self._told: dict[str, str] = {}  # the last status, attention, embedding and closeup, as JSON
        self._seen: dict[str, tuple[tuple[int, int], Mark]] = {}
        self._label = ((0, 0), "")  # when the record was last changed, and the name in it
        self._probe = 0
        self._baselines: dict[str, float] | None = None
        self._progress: dict[str, Any] | None = None
        self._judged_by: list[Any] = []  # what it was judged by, besides the metrics up to the mark
        self._judged_until = Mark()
        self._points: np.ndarray | None = None
        self._vocabulary: tuple[str, ...] = ()
        self._step_detail = 0

    def here(self) -> Position:
        """Where everything stands now. The status is read first: rows written before an end are never missed."""
        status = json.loads(self.folder.status().model_dump_json())
        self.ended, self.state = status["state"] in ENDED, status["state"]
        status["name"] = self._name()
        self._baselines = self._baselines or self.folder.read_baselines()  # counted once, a moment after the beginning
        status["baselines"] = self._baselines
        status["moments"] = steps_with_weights(self.folder)
        marks = {name: self._mark(name) for name in ROWS}
        status["progress"] = self._judged(status, marks)
        self._told["status"] = json.dumps(status)
        self._look_at_probe()
        self._measure_step_detail()
        changing = json.dumps({key: value for key, value in status.items() if key != "updated"})
        return Position(**marks, probe=self._probe, status=crc32(changing.encode()), step_detail=self._step_detail)

    def between(self, since: Position, upto: Position) -> Iterator[str]:
        """The events that lead from one position to another, each with the cursor behind it."""
        told = dict(self._told)
        at = since
        if since.status != upto.status:
            at = at._replace(status=upto.status)
            yield event("status", told["status"], str(at))
        for name in ("samples", "events"):
            for rows, mark in self._rows_between(name, getattr(since, name), getattr(upto, name)):
                at = at._replace(**{name: mark})
                yield event(name, rows, str(at))
        if since.step_detail != upto.step_detail and "closeup" in told:
            at = at._replace(step_detail=upto.step_detail)
            yield event("closeup", told["closeup"], str(at))
        if since.probe != upto.probe:
            # The cursor moves on only behind the second picture, so neither can be missed.
            if "attention" in told:
                yield event("attention", told["attention"], str(at))
            at = at._replace(probe=upto.probe)
            if "embedding" in told:
                yield event("embedding", told["embedding"], str(at))
        # Of a long run they take longest, so all else is there before they are.
        for rows, mark in self._rows_between("metrics", since.metrics, upto.metrics):
            at = at._replace(metrics=mark)
            yield event("metrics", rows, str(at))

    def _rows_between(self, name: str, start: Mark, end: Mark) -> Iterator[tuple[str, Mark]]:
        """Rows as `{"rows": [...]}` and the mark behind them; all, marked as such, where `start` no longer holds."""
        if start == end:
            return
        goes_on = 0 < start.offset <= end.offset and holds(self.paths[name], start)
        pieces = self._pieces(name, start if goes_on else Mark(), end)
        first = next(pieces, Piece([], end))
        yield _as_json(first, reset=not goes_on), first.end
        for piece in pieces:
            yield _as_json(piece), piece.end

    def _pieces(self, name: str, start: Mark, end: Mark) -> Iterator[Piece]:
        path = self.paths[name]
        if name != "metrics":
            return read_pieces(path, start, end, MOST_SAMPLES if name == "samples" else MOST_EVENTS)
        return read_pieces(path, start, end, MOST_ROWS, COLUMNS) if start.offset else curve(path).pieces(end)

    def _mark(self, name: str) -> Mark:
        """The end of the last whole row of a file."""
        try:
            found = self.paths[name].stat()
        except OSError:
            return Mark()
        identity = (found.st_ino, found.st_size)
        if self._seen.get(name, (None,))[0] != identity:
            self._seen[name] = identity, last_mark(self.paths[name], found.st_size)
        return self._seen[name][1]

    def _judged(self, status: dict[str, Any], marks: Mapping[str, Mark]) -> dict[str, Any] | None:
        """Return one sentence on how training is going, with its numbers; judged anew after every measurement.

        It is judged by the very rows that go out with it, so that no loss on the page is newer than another.
        """
        basis = [marks["events"], *(status[name] for name in ("attempt", "state", "problem", "moments"))]
        until, rows = marks["metrics"], self.paths["metrics"]
        if basis != self._judged_by or holds_between(rows, self._judged_until, until, b'"val_loss"'):
            progress = progress_of(self.folder, curve_rows(self.folder, until))
            self._progress = progress and {
                "sentence": SENTENCES[progress.kind],
                "numbers": progress.numbers,
                "trouble": progress.trouble,
                "back": progress.back if progress.back in status["moments"] else None,
            }
        self._judged_by, self._judged_until = basis, until
        return self._progress

    def _name(self) -> str:
        """The run's name, read again only when its record has changed."""
        try:
            found = self.folder.record_path.stat()
        except OSError:
            return self.folder.name
        identity = (found.st_ino, found.st_mtime_ns)
        if self._label[0] != identity:
            self._label = identity, self.folder.name
        return self._label[1]

    def _look_at_probe(self) -> None:
        try:
            changed = self.folder.probe_path.stat().st_mtime_ns
        except OSError:
            return
        if changed == self._probe:
            return
        probe = self.folder.read_probe()
        if probe is None:
            return
        self._probe = changed
        self._told.update(self._pictures(probe))

    def _measure_step_detail(self) -> None:
        try:
            changed = self.folder.step_detail_path.stat().st_mtime_ns
        except OSError:
            return
        if changed == self._step_detail:
            return
        told = read_step_detail(self.folder)
        if told is not None:
            self._step_detail = changed
            self._told["closeup"] = json.dumps(told)

    def _tokens(self) -> tuple[str, ...]:
        """The first tokens of the vocabulary; none where it cannot be read, and then there is no map."""
        if not self._vocabulary:
            try:
                self._vocabulary = load_tokenizer(self.folder.tokenizer_path).tokens[:MOST_TOKENS]
            except TextError:
                return ()
        return self._vocabulary

    def _pictures(self, probe: Probe) -> Iterator[tuple[str, str]]:
        layers, heads, length = probe.attention.shape[:3]
        if layers:
            yield (
                "attention",
                json.dumps(
                    {
                        "step": probe.step,
                        "layers": layers,
                        "heads": heads,
                        "length": length,
                        "tokens": [visible(token) for token in probe.tokens],
                        "bytes": b64encode(np.ascontiguousarray(probe.attention).tobytes()).decode("ascii"),
                    }
                ),
            )
        tokens = self._tokens()
        vectors = probe.embedding[: len(tokens)].astype(np.float32)
        if len(vectors) >= 3 and np.isfinite(vectors).all():
            self._points = _steady(project(vectors, "pca", 2), self._points)
            yield (
                "embedding",
                json.dumps(
                    {
                        "step": probe.step,
                        "tokens": [visible(token) for token in tokens],
                        "kinds": [kind_of(token) for token in tokens],
                        "xy": np.round(on_the_map(self._points), 4).tolist(),
                    }
                ),
            )


def _as_json(piece: Piece, *, reset: bool = False) -> str:
    return f'{{"rows": [{", ".join(piece.rows)}]' + (', "reset": true}' if reset else "}")


def on_the_map(points: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    """Points (V, 2) in the square from -1 to 1, filled by the crowd; a few rare letters far out are drawn at its rim.

    The flatter direction is stretched so that the whole square is of use, by `_STRETCH` at most: it stays the lesser.

    Args:
        like: points that decide on the middle and the scale instead, so that several maps can be compared.
    """
    like = (points if like is None else like).astype(np.float64)
    low, high = np.quantile(like, [1 - _CROWD, _CROWD], axis=0)
    half = np.maximum(1.15 * (high - low) / 2, 1e-9)
    half = np.maximum(half, half.max() / _STRETCH)
    points = (points.astype(np.float64) - (low + high) / 2) / half
    return points / np.maximum(np.abs(points).max(axis=1, keepdims=True), 1.0)


def _steady(points: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """The points turned so that they lie as near as can be to where they lay before (PCA may flip at any step)."""
    return points if before is None or before.shape != points.shape else align(points, before)
