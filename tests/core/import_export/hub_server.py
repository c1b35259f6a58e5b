"""A hub on this machine: the folders of some models behind real HTTP, at the addresses that Hugging Face's hub has."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_INFO = re.compile(r"/api/models/(?P<name>[^/]+(?:/[^/]+)?)(?:/revision/main)?")
_TREE = re.compile(rf"/api/models/(?P<name>[^/]+(?:/[^/]+)?)/tree/{COMMIT}")
_FILE = re.compile(rf"/(?P<name>[^/]+(?:/[^/]+)?)/resolve/{COMMIT}/(?P<file>.+)")


class Hub(ThreadingHTTPServer):
    """Serves `models`, folders by their names on the hub, and notes the files whose content it has sent."""

    trouble: int | None = None  # the status that everything is answered with, where something is wrong

    def __init__(self, models: dict[str, Path]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models = models
        self.sent: set[str] = set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """From now on nobody answers at its address."""
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
        files = [{"rfilename": path.name, "size": path.stat().st_size} for path in sorted(folder.iterdir())]
        told = {"id": found["name"], "sha": COMMIT, "siblings": files}
        self._send(200, json.dumps(told).encode(), {}, body)

    def _tree(self, folder: Path, found: re.Match, body: bool) -> None:
        files = [
            {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": _hash(path)}
            for path in sorted(folder.iterdir())
        ]
        self._send(200, json.dumps(files).encode(), {}, body)

    def _file(self, folder: Path, found: re.Match, body: bool) -> None:
        path = folder / found["file"]
        if body:
            self.server.sent.add(path.name)
        self._send(200, path.read_bytes(), {"ETag": f'"{_hash(path)}"', "X-Repo-Commit": COMMIT}, body)

    def _send(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


def _hash(path: Path) -> str:
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
