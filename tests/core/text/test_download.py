import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from core.errors import TextError
from core.text.download import fetch

TEXT = b"First Citizen:\nBefore we proceed any further, hear me speak.\n"
SHA256 = hashlib.sha256(TEXT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        if self.path == "/missing":
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(TEXT)))
        self.end_headers()
        self.wfile.write(TEXT[:20] if self.path == "/torn" else TEXT)

    def log_message(self, *args):
        pass


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requests = []
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_verified_download_is_kept_and_fetched_only_once(server, tmp_path):
    for _ in range(2):
        file = fetch(f"{server.url}/text", SHA256, tmp_path / "downloads", "text.txt")
        assert file == tmp_path / "downloads" / "text.txt"
        assert file.read_bytes() == TEXT
    assert server.requests == ["/text"]


def test_a_damaged_local_copy_is_downloaded_again(server, tmp_path):
    (tmp_path / "text.txt").write_bytes(TEXT[:10])
    assert fetch(f"{server.url}/text", SHA256, tmp_path, "text.txt").read_bytes() == TEXT


def test_a_download_with_the_wrong_hash_is_discarded(server, tmp_path):
    with pytest.raises(TextError, match=r"What 127\.0\.0\.1 sent is not the text that was expected"):
        fetch(f"{server.url}/text", "0" * 64, tmp_path, "text.txt")
    assert not list(tmp_path.iterdir())


def test_an_interrupted_download_leaves_no_file(server, tmp_path):
    with pytest.raises(TextError, match=r"from 127\.0\.0\.1 when first used, and that host cannot be reached"):
        fetch(f"{server.url}/torn", SHA256, tmp_path, "text.txt")
    assert not list(tmp_path.iterdir())


def test_an_http_error_of_the_server_is_reported(server, tmp_path):
    with pytest.raises(TextError, match=r"which answered: 404 Not Found\. Try again later"):
        fetch(f"{server.url}/missing", SHA256, tmp_path, "text.txt")


def test_downloading_offline_raises_an_error_that_says_what_to_do(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/text"
        with pytest.raises(TextError, match="cannot be reached. Check the connection to the internet, or choose"):
            fetch(url, SHA256, tmp_path, "text.txt")


def test_an_unwritable_download_folder_is_reported(server, tmp_path):
    (tmp_path / "downloads").write_text("a file where the folder should be")
    with pytest.raises(TextError, match="The text cannot be kept in"):
        fetch(f"{server.url}/text", SHA256, tmp_path / "downloads", "text.txt")


@pytest.mark.parametrize(
    "proxy", ["socks5://127.0.0.1:1", "foo://x", "http://[bad", "http://h:port", "::::", "http://"]
)
def test_an_unusable_proxy_is_reported_with_its_environment_variable(proxy, tmp_path, monkeypatch):
    for name in ("NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(TextError, match="cannot be reached through the proxy that ALL_PROXY names. Check"):
        fetch("http://127.0.0.1:1/text", SHA256, tmp_path, "text.txt")
