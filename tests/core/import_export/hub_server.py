"""Serve folders of models and datasets over HTTP, with the paths of the Hugging Face hub."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_NAME = r"(?P<name>[^/]+(?:/[^/]+)?)"
_INFO = re.compile(rf"/api/(?:models|datasets)/{_NAME}(?:/revision/[^/]+)?")
_TREE = re.compile(rf"/api/(?:models|datasets)/{_NAME}/tree/{COMMIT}(?:/(?P<under>.+))?")
_FILE = re.compile(rf"/(?:datasets/)?{_NAME}/resolve/{COMMIT}/(?P<file>.+)")


class Hub(ThreadingHTTPServer):
    """Serves `models`, folders by their names on the hub, and records the files whose content it has sent."""

    trouble: int | None = None  # if set, every request is answered with this HTTP status

    def __init__(self, models: dict[str, Path]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models = models
        self.sent: set[str] = set()
        self.bytes_sent = 0  # of range requests
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """Stop answering requests."""
        self.shutdown()
        self._thread.join()
        self.server_close()


@contextmanager
def serving(models: dict[str, Path]) -> Iterator[Hub]:
    hub = Hub(models)
    try:
        yield hub
    finally:
        hub.stop()


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, body: bool) -> None:
        if self.server.trouble:
            return self._send(self.server.trouble, b"", {}, body)
        path = self.path.partition("?")[0]
        for pattern, send in ((_TREE, self._tree), (_INFO, self._info), (_FILE, self._file)):
            found = pattern.fullmatch(path)
            if found and found["name"] in self.server.models:
                return send(self.server.models[found["name"]], found, body)
        self._send(401, b"", {"X-Error-Message": "Invalid username or password."}, body)  # as the hub itself does

    def _info(self, folder: Path, found: re.Match, body: bool) -> None:
        files = [{"rfilename": _place(path, folder), "size": path.stat().st_size} for path in _files(folder)]
        listing = {"id": found["name"], "sha": COMMIT, "siblings": files, "cardData": {"license": "cc0-1.0"}}
        self._send(200, json.dumps(listing).encode(), {}, body)

    def _tree(self, folder: Path, found: re.Match, body: bool) -> None:
        entries = [_entry(path, folder) for path in _files(folder / (found["under"] or ""))]
        self._send(200, json.dumps(entries).encode(), {}, body)

    def _file(self, folder: Path, found: re.Match, body: bool) -> None:
        path = folder / found["file"]
        if body:
            self.server.sent.add(path.name)
        headers, content = {"ETag": f'"{_hash(path)}"', "X-Repo-Commit": COMMIT}, path.read_bytes()
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            start, end = map(int, wanted.groups())
            self.server.bytes_sent += len(content[start : end + 1])
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            return self._send(206, content[start : end + 1], headers, body)
        self._send(200, content, headers, body)

    def _send(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _place(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _entry(path: Path, folder: Path) -> dict[str, object]:
    return {"type": "file", "path": _place(path, folder), "size": path.stat().st_size, "oid": _hash(path)}


def _hash(path: Path) -> str:
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
