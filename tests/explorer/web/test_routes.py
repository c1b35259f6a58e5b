"""Our own routes read only runs, by their id, and report errors in sentences."""

import asyncio
import io
import json
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from core.fast.compiled import CompiledDecoder, load
from core.import_export.nanogpt import read_checkpoint
from core.runs.weights import steps_with_weights
from core.sampling import generate_together
from explorer.streaming import generation
from explorer.streaming.broadcaster import Broadcaster
from explorer.streaming.generation import LONGEST_PROMPT
from explorer.web.routes import api_routes
from tests.conftest import no_file_longer_than
from tests.explorer.streaming.test_streams import events_of, steps_of

NO_RUNS = [
    "20260101-000000-zzzzzzzzzzzz",
    "..",
    "..%2f..%2fetc",
    "%2e%2e%2f%2e%2e%2fqueue.sqlite3",
    "queue.sqlite3",
    "20260101-000000-aaaaaaaaaaaa%2f..",
    "20260101-000000-aaaaaaaaaaaa%00",
    "<img src=x onerror=alert(1)>",
]


def written(client, folder, **query) -> list:
    response = client.get(f"/api/runs/{folder.id}/generate", params=query)
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/event-stream")
    return [(name, data) for name, data, _ in events_of(response.text)]


def test_the_stream_of_a_finished_run_sends_its_rows_and_an_end_event(client, finished_run):
    response = client.get(f"/api/runs/{finished_run.id}/stream")
    events = events_of(response.text)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    assert steps_of(events)[-1] == 20 and events[-1][0] == "end"


def test_the_last_event_id_header_takes_precedence_over_the_cursor_in_the_address(client, finished_run):
    address = f"/api/runs/{finished_run.id}/stream"
    events = events_of(client.get(address).text)
    first, last = events[0][2], events[-2][2]
    assert [name for name, _, _ in events_of(client.get(address, params={"cursor": last}).text)] == ["end"]
    both = client.get(address, params={"cursor": first}, headers={"Last-Event-ID": last})
    assert [name for name, _, _ in events_of(both.text)] == ["end"]


@pytest.mark.parametrize("what", ["stream", "download", "generate", "frames/20"])
@pytest.mark.parametrize("id", NO_RUNS)
def test_ids_that_are_no_run_are_not_found(client, finished_run, what, id):
    response = client.get(f"/api/runs/{id}/{what}")
    assert response.status_code == 404
    assert "SQLite" not in response.text and "root:" not in response.text


def test_a_missing_run_is_reported_in_a_sentence(client):
    response = client.get(f"/api/runs/{NO_RUNS[0]}/stream")
    assert "There is no run" in response.text and response.headers["content-type"].startswith("text/plain")


def test_a_download_is_a_zip_of_the_run_and_leaves_no_temporary_files(client, finished_run, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    finished_run.rename('<b>"otter"\n/../ x')
    response = client.get(f"/api/runs/{finished_run.id}/download")
    names = zipfile.ZipFile(io.BytesIO(response.content)).namelist()
    assert any(name.endswith("run.json") for name in names) and all(".." not in name for name in names)
    sentence = response.headers["content-disposition"]
    assert finished_run.id in sentence and not set(sentence.partition("filename")[2]) & set("<>/\\\n")
    assert int(response.headers["content-length"]) == len(response.content)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize("wanted", ["bytes=0-9", "bytes=999999999999-", "bytes=9-1", "nonsense"])
def test_a_download_ignores_range_requests_and_leaves_no_temporary_files(
    client, finished_run, tmp_path, monkeypatch, wanted
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    response = client.get(f"/api/runs/{finished_run.id}/download", headers={"Range": wanted})
    assert response.status_code == 200 and response.headers["accept-ranges"] == "none"
    assert zipfile.ZipFile(io.BytesIO(response.content)).testzip() is None
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_head_request_for_a_download_creates_no_archive(client, finished_run, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    response = client.head(f"/api/runs/{finished_run.id}/download")
    assert response.status_code == 200 and not response.content
    assert response.headers["content-type"] == "application/zip"
    assert finished_run.id in response.headers["content-disposition"]


def test_concurrent_downloads_are_limited_and_finished_ones_free_their_slot(explorer_home, finished_run, monkeypatch):
    monkeypatch.setattr("explorer.web.routes.MAX_DOWNLOADS", 1)
    address = f"/api/runs/{finished_run.id}/download"
    with TestClient(Starlette(routes=api_routes(Broadcaster()))) as client:
        assert [client.get(address).status_code for _ in range(3)] == [200] * 3

    async def both() -> list[int]:
        transport = httpx.ASGITransport(Starlette(routes=api_routes(Broadcaster())))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as pending:
            return [answer.status_code for answer in await asyncio.gather(*(pending.get(address) for _ in range(2)))]

    assert sorted(asyncio.run(both())) == [200, 503]


def test_generated_text_is_streamed_token_by_token_and_depends_on_the_seed(client, finished_run):
    events = written(client, finished_run, prompt="To be", max_new_tokens=12, seed=3)
    tokens = [data for name, data in events if name == "token"]
    assert len(tokens) == 12 and events[-1] == ("end", {})
    assert all(len(token["text"]) == 1 and 0 < token["p"] <= 1 for token in tokens)
    for token in tokens:
        probabilities = [probability for _, probability, _ in token["alternatives"]]
        assert probabilities == sorted(probabilities, reverse=True) and len(probabilities) == 5
    assert events == written(client, finished_run, prompt="To be", max_new_tokens=12, seed=3)
    assert events != written(client, finished_run, prompt="To be", max_new_tokens=12, seed=4)


def test_text_is_generated_from_an_empty_prompt(client, finished_run):
    assert len(written(client, finished_run, max_new_tokens=3)) == 4


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"prompt": "naïve"}, "'ï' (U+00EF) at position 2"),
        ({"prompt": "مرحبا"}, "position 0"),
        ({"max_new_tokens": 10**9}, "max_new_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": "NaN"}, "top_p"),
        ({"seed": "x"}, "seed"),
        ({"prompt": "T" * (LONGEST_PROMPT + 1)}, f"{LONGEST_PROMPT:,}"),
    ],
)
def test_invalid_prompts_and_settings_are_refused_in_a_sentence(client, finished_run, query, sentence):
    (name, data), end = written(client, finished_run, **query)
    assert name == "problem" and sentence in data["sentence"] and end == ("end", {})


def test_a_run_without_weights_is_reported(client, finished_run):
    finished_run.weights_path.unlink()
    for _, path in finished_run.snapshots():
        path.unlink()
    assert "weights" in written(client, finished_run)[0][1]["sentence"]


@pytest.mark.parametrize("run", [None, *NO_RUNS[:1]])
def test_too_many_generation_requests_are_refused(client, finished_run, monkeypatch, run):
    monkeypatch.setattr("explorer.streaming.generation.MAX_WAITING", 0)
    address = f"/api/runs/{run or finished_run.id}/generate"
    refused = client.get(address)
    assert refused.status_code == 503 and "Wait a moment" in refused.text and refused.headers["retry-after"]
    browser = client.get(
        address, headers={"Accept": "text/event-stream"}
    )  # a browser's EventSource does not show the body of a 503
    assert browser.status_code == 200 and "Wait a moment" in events_of(browser.text)[0][1]["sentence"]


def test_a_flood_of_requests_from_one_client_leaves_slots_for_others(finished_run, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def slow(*args):
        begun.set()
        go_on.wait(30)
        return prepare(*args)

    prepare = generation._prepare
    monkeypatch.setattr(generation, "_prepare", slow)
    address = f"/api/runs/{finished_run.id}/generate?max_new_tokens=2"
    app = Starlette(routes=api_routes(Broadcaster()))

    async def flood() -> list[int]:
        def from_(host: str) -> httpx.AsyncClient:
            return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(host, 1)), base_url="http://test")

        async with from_("192.0.2.1") as one, from_("192.0.2.2") as other, from_("127.0.0.1") as proxy:
            pending = [asyncio.create_task(who.get(address)) for who in [one] * 1000 + [other] * 2 + [proxy] * 1000]
            while sum(task.done() for task in pending) < 2002 - generation.MAX_WAITING:
                await asyncio.sleep(0)
            go_on.set()
            return [answer.status_code for answer in await asyncio.gather(*pending)]

    statuses = asyncio.run(flood())
    assert statuses[:1000].count(200) == generation.MAX_OF_ONE and statuses[1000:1002] == [200, 200]
    assert statuses.count(200) == generation.MAX_WAITING and statuses.count(503) == 2002 - generation.MAX_WAITING
    assert not generation._running


def test_too_many_frame_requests_are_refused(client, finished_run, monkeypatch):
    monkeypatch.setattr("explorer.look_inside.frames.MAX_WAITING", 0)
    refused = client.get(f"/api/runs/{finished_run.id}/frames/20")
    assert refused.status_code == 503 and "Wait a little" in refused.text


def test_a_client_who_leaves_cancels_its_generation(finished_run, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def slow(*args):
        begun.set()
        go_on.wait(30)
        return prepare(*args)

    prepare = generation._prepare
    monkeypatch.setattr(generation, "_prepare", slow)
    monkeypatch.setattr(generation, "_threads", ThreadPoolExecutor(1))

    async def come_and_leave() -> tuple[int, int]:
        async def read() -> str:
            with generation.generated_text(finished_run.id, {}) as pieces:
                return await anext(pieces)

        readers = [asyncio.create_task(read())]
        await asyncio.to_thread(begun.wait, 30)
        readers += [asyncio.create_task(read()) for _ in range(2)]
        while len(generation._waiting) < 2:
            await asyncio.sleep(0)
        before = len(generation._running)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        after = len(generation._running)  # the running generation counts until it has ended
        go_on.set()
        await asyncio.to_thread(generation._threads.shutdown)
        return before, after

    assert asyncio.run(come_and_leave()) == (3, 1)
    assert not generation._running


def test_waiting_texts_of_one_run_are_generated_in_one_batch(client, finished_run, monkeypatch):
    load()
    seeds, together, go_on = [1, 2, 3, 4], [], threading.Event()
    alone = [written(client, finished_run, seed=seed, max_new_tokens=12, prompt="T") for seed in seeds]

    def spy(model, prompts, settings, **options):
        together.append(len(prompts))
        return generate_together(model, prompts, settings, **options)

    monkeypatch.setattr(generation, "generate_together", spy)
    monkeypatch.setattr(generation, "_threads", ThreadPoolExecutor(1))
    generation._threads.submit(go_on.wait, 30)

    async def read(query: dict[str, str]) -> str:
        with generation.generated_text(finished_run.id, query) as pieces:
            return "".join([piece async for piece in pieces])

    async def read_all() -> list[str]:
        queries = [{"seed": str(seed), "max_new_tokens": "12", "prompt": "T"} for seed in seeds]
        readers = [asyncio.create_task(read(query)) for query in [*queries, {"temperature": "-1"}]]
        while len(generation._waiting) < len(readers):
            await asyncio.sleep(0)
        go_on.set()
        return await asyncio.gather(*readers)

    def shown(events: list) -> list[str]:
        return [data.get("text") for _, data in events]

    *texts, refused = ([(name, data) for name, data, _ in events_of(text)] for text in asyncio.run(read_all()))
    assert together == [4] and refused[0][0] == "problem" and refused[-1] == ("end", {})
    assert [shown(text) for text in texts] == [shown(text) for text in alone]
    assert not generation._waiting


@pytest.mark.parametrize("end", ["left", "answered"])
def test_a_text_leaves_the_batch_when_its_client_left_or_its_answer_is_complete(finished_run, monkeypatch, end):
    load()
    texts, write = [], CompiledDecoder.write
    monkeypatch.setattr(CompiledDecoder, "write", lambda *how: texts.append(len(how[1])) or write(*how))

    def put(number: int, chunk: str) -> None:
        chunks[number].append(chunk)
        if number == 0 and end == "left":
            requests[0].left.set()

    chunks: list[list[str]] = [[], [], []]
    query = {"max_new_tokens": "500", "prompt": "T"}
    requests = [generation._Request(finished_run.id, query | {"seed": str(n)}, "en", partial(put, n)) for n in range(3)]
    if end == "answered":  # as for a task model, after a prompt that is a question
        prepared = requests[0].prepared()._replace(answers=True)
        requests[0].prepared = lambda: prepared
    generation._write_together(requests)
    assert len(chunks[0]) < len(chunks[1]) == len(chunks[2]) == 500
    assert texts[0] == 3 and texts[-1] == 2


def test_a_frame_exists_for_every_step_with_weights_and_for_no_other(client, finished_run):
    address = f"/api/runs/{finished_run.id}/frames"
    steps = steps_with_weights(finished_run)
    for step in steps:
        response = client.get(f"{address}/{step}", params={"prompt": "To be", "anchor": steps[-1]})
        assert response.status_code == 200 and response.json()["step"] == step
    gone = client.get(f"{address}/13")
    assert gone.status_code == 404 and "no weights of step 13" in gone.text
    assert {client.get(f"{address}/{step}").status_code for step in ("-1", "x", "9" * 5000, "²", "1.5")} == {404}
    assert client.get(f"{address}/0", params={"prompt": "T" * (LONGEST_PROMPT + 1)}).status_code == 400
    assert client.get(f"{address}/0", params={"anchor": "9" * 400}).status_code == 200


def test_plotly_is_served_compressed_with_an_etag(client):
    response = client.get("/api/plotly.js")
    assert response.headers["content-encoding"] == "gzip" and "plotly.js" in response.text[:300]
    assert response.headers["content-type"].startswith("text/javascript")
    again = client.get("/api/plotly.js", headers={"If-None-Match": response.headers["etag"]})
    assert again.status_code == 304 and not again.content
    plain = client.get("/api/plotly.js", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.text == response.text


def test_routes_are_under_the_base_path(explorer_home, finished_run):
    with TestClient(Starlette(routes=api_routes(Broadcaster(), "/gpt/"))) as client:
        assert client.get(f"/gpt/api/runs/{finished_run.id}/stream").status_code == 200
        assert client.get(f"/api/runs/{finished_run.id}/stream").status_code == 404


def test_every_event_of_a_stream_is_one_line_of_json(client, finished_run):
    finished_run.rename("a\u2028b\\n")
    for block in client.get(f"/api/runs/{finished_run.id}/stream").text.strip().split("\n\n"):
        data = [line for line in block.split("\n") if line.startswith("data: ")]
        assert len(data) == 1 and json.loads(data[0][6:]) is not None


def test_a_model_is_downloaded_in_the_formats_of_hugging_face_and_nanogpt(client, finished_run, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    address = f"/api/runs/{finished_run.id}/download"
    response = client.get(address, params={"for": "huggingface"})
    names = zipfile.ZipFile(io.BytesIO(response.content)).namelist()
    assert names == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert 'filename="patient-otter-transformers.zip"' in response.headers["content-disposition"]
    response = client.get(address, params={"for": "nanogpt"})
    assert 'filename="patient-otter-nanogpt.zip"' in response.headers["content-disposition"]
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    packed = zipfile.ZipFile(io.BytesIO(response.content))
    own = f"patient-otter-{finished_run.id[-6:]}"
    assert packed.namelist() == [f"data/{own}/meta.pkl", f"out-{own}/README.txt", f"out-{own}/ckpt.pt"]
    assert read_checkpoint(Path(packed.extract(f"out-{own}/ckpt.pt", tmp_path))).step == 20


@pytest.mark.parametrize("kind", [None, "huggingface", "nanogpt", "report"])
def test_a_download_without_disk_space_for_temporary_files_is_refused_in_a_sentence(
    client, finished_run, monkeypatch, kind
):
    address, params = f"/api/runs/{finished_run.id}/download", {"for": kind} if kind else {}
    with no_file_longer_than(3000):
        response = client.get(address, params=params)
    assert response.status_code == 500 and "temporary files" in response.text
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.tempdir", "/nowhere")
        response = client.get(address, params=params)
    assert response.status_code == 500 and "No such file or directory" in response.text
    assert client.get(address, params=params).status_code == 200, "and its place was given back"


def test_a_model_that_hugging_face_cannot_represent_is_refused_with_the_settings(client, finished_run):
    record = finished_run.record()
    config = record.config.replace({"model.qk_norm": True})
    finished_run.write_record(record.model_copy(update={"config": config}))
    address = f"/api/runs/{finished_run.id}/download"
    response = client.get(address, params={"for": "huggingface"})
    assert response.status_code == 409 and "Settings in the way: qk_norm=True." in response.text
    assert client.get(address, params={"for": "../x"}).status_code == 404


def test_a_run_is_downloaded_as_a_report_a_notebook_or_a_script(client, finished_run):
    address = f"/api/runs/{finished_run.id}/download"
    begin = {"report": b"<!doctype html>", "notebook": b"{", "script": b'"""'}
    for kind, first in begin.items():
        response = client.get(address, params={"for": kind})
        assert response.status_code == 200 and response.content.startswith(first)
        assert (
            "attachment" in response.headers["content-disposition"]
        )  # so that no browser shows it under our own origin
    finished_run.update_record(origin="imported from x")
    assert client.get(address, params={"for": "script"}).status_code == 409
    assert client.get(address, params={"for": "pickle"}).status_code == 404
