"""The live stream sends the history, then new rows; with its cursor a client misses nothing and gets nothing twice."""

import asyncio
import json
import shutil
from base64 import b64decode
from collections.abc import AsyncIterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.lessons.lesson_text import fill
from core.runs.loaded_run import cut_after
from core.training.gauge import PARTS
from core.training.pace import Pace
from explorer.streaming.broadcaster import Broadcaster, RunBroadcast
from explorer.streaming.jsonl_tail import FilePosition
from explorer.streaming.run_events import MAX_SAMPLES, Position, RunReader, _gauge_of

NUMBERS = st.integers(0, 2**63)
MARKS = st.builds(FilePosition, NUMBERS, st.integers(0, 2**32 - 1))


def events_of(text: str) -> list[tuple[str, dict, str]]:
    """Return (name, data, cursor) for each event in a chunk of an event stream."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":") and line)
        if fields:
            found.append((fields["event"], json.loads(fields["data"]), fields.get("id", "")))
    return found


def steps_of(events: list, name: str = "metrics") -> list[int]:
    return [row["step"] for kind, data, _ in events if kind == name for row in data["rows"]]


async def until(stream: AsyncIterator[bytes], enough) -> list:
    """Read a stream until `enough` is true for the events so far."""
    seen = []
    async for chunk in stream:
        seen += events_of(chunk.decode())
        if enough(seen):
            break
    return seen


def whole(folder, cursor: str = "") -> list:
    """Return all events of a run that has ended."""
    return asyncio.run(until(Broadcaster().watch(folder, cursor), lambda seen: False))


@given(st.builds(Position, MARKS, MARKS, MARKS, NUMBERS, NUMBERS, NUMBERS))
def test_a_cursor_is_parsed_back_to_its_position(position):
    assert Position.parse(str(position)) == position


@pytest.mark.parametrize("cursor", ["", "x", "1.2", "-1.0.0.0.0.0.0.0", "1.0.0.0.0.0.0.0\n", "f" * 99])
def test_an_invalid_cursor_means_the_beginning(cursor):
    assert Position.parse(cursor) == Position()


def test_the_stream_of_a_finished_run_sends_all_its_rows_and_ends(finished_run):
    events = whole(finished_run)
    names = [name for name, _, _ in events]
    assert names[0] == "status" and names[-1] == "end"
    assert set(names) == {"status", "metrics", "samples", "events", "attention", "embedding", "end"}
    assert steps_of(events) == [row["step"] for row in finished_run.rows("metrics")]
    assert events[-1][1] == {"state": "finished"}
    assert events[0][1]["name"] == "patient-otter" and events[0][1]["state"] == "finished"


def test_attention_and_embedding_events_agree_with_the_probe(finished_run):
    sent = {name: data for name, data, _ in whole(finished_run)}
    probe = finished_run.read_probe()
    attention, embedding = sent["attention"], sent["embedding"]
    shape = (attention["layers"], attention["heads"], attention["length"], attention["length"])
    assert shape == probe.attention.shape and len(attention["tokens"]) == shape[2]
    assert np.array_equal(np.frombuffer(b64decode(attention["bytes"]), np.uint8).reshape(shape), probe.attention)
    xy = np.array(embedding["xy"])
    assert xy.shape == (len(probe.embedding), 2) and 0.5 < np.abs(xy).max() <= 1
    assert len(embedding["tokens"]) == len(embedding["kinds"]) == len(xy)


def test_a_reconnecting_client_gets_exactly_the_missed_events(finished_run):
    events = whole(finished_run)
    for index, (_, _, cursor) in enumerate(events[:-1]):
        rest = whole(finished_run, cursor)
        missed = [event for event in events[index + 1 :] if event[0] in ("metrics", "samples", "events")]
        assert [event for event in rest if event[0] in ("metrics", "samples", "events")] == missed
    assert [name for name, _, _ in whole(finished_run, events[-2][2])] == ["end"]


def test_rows_are_sent_when_written_and_a_torn_row_when_it_is_complete(running_run):
    async def scene():
        broadcast = RunBroadcast(running_run)
        stream = broadcast.watch()
        seen = await until(stream, lambda seen: steps_of(seen))
        running_run.append("metrics", {"step": 21, "loss": 2.0})
        seen += await until(stream, steps_of)
        with running_run.metrics_path.open("ab") as file:
            file.write(b'{"step": 22, "lo')
        running_run.append("events", {"step": 21, "kind": "pause"})
        seen += await until(stream, lambda new: any(name == "events" for name, _, _ in new))
        with running_run.metrics_path.open("ab") as file:
            file.write(b'ss": 1.5}\n')
        seen += await until(stream, steps_of)
        await stream.aclose()
        return seen, broadcast

    seen, broadcast = asyncio.run(scene())
    assert steps_of(seen) == [row["step"] for row in running_run.rows("metrics")]
    assert steps_of(seen)[-2:] == [21, 22]
    assert broadcast.closed and broadcast.watchers == 0


def test_after_rows_are_removed_all_rows_are_sent_again_with_a_reset(running_run):
    async def scene():
        stream = RunBroadcast(running_run).watch()
        first = await until(stream, steps_of)
        cut_after(running_run, 10)
        running_run.append("metrics", {"step": 12, "loss": 9.0})
        return first, await until(stream, lambda new: 12 in steps_of(new))

    first, second = asyncio.run(scene())
    last = [data for name, data, _ in second if name == "metrics"][-1]
    assert last["reset"] and [row["step"] for row in last["rows"]] == [
        row["step"] for row in running_run.rows("metrics")
    ]
    cursor = next(cursor for name, _, cursor in first if name == "metrics")
    reader = RunReader(running_run)
    again = events_of("".join(reader.events_between(Position.parse(cursor), reader.current_position())))
    assert next(data for name, data, _ in again if name == "metrics") == last


def test_a_setting_change_is_sent_with_its_label(finished_run):
    finished_run.append("events", {"step": 20, "kind": "turn", "knob": "model.dropout", "value": 0.2, "before": 0.0})
    rows = next(data["rows"] for name, data, _ in whole(finished_run) if name == "events")
    assert rows[-1]["label"] == "dropout 0 → 0.2"
    assert all("label" not in row for row in rows[:-1])


def test_the_status_reports_trouble_in_training(ruined_run, finished_run):
    sent = whole(ruined_run)[0][1]["progress"]
    sentence = fill(sent["sentence"], **sent["numbers"])
    best = ruined_run.rows("metrics")[-3]["val_loss"]
    assert sent["trouble"] and sentence == (
        f"Loss rose from {best:.2f} to 5.50 after the learning rate was raised at step 21. Go back to step 20."
    )
    assert not whole(finished_run)[0][1]["progress"]["trouble"]


def test_the_status_reports_speed_and_the_share_of_peak_only_for_this_machine(finished_run, running_run):
    """The run's own worker measured the pace on this machine."""
    pace = finished_run.status().pace
    assert pace.training > pace.waiting >= 0 and pace.evaluation > 0 and pace.sampling > 0
    gauge = whole(finished_run)[0][1]["gauge"]
    assert gauge["tokens_per_second"] == pytest.approx(4 * 16 / pace.whole)
    assert sum(part["share"] for part in gauge["parts"]) == pytest.approx(1)
    assert 0 < gauge["peak_share"] < 1
    assert {part["name"] for part in gauge["parts"]} <= set(PARTS.values())
    assert all(fill(each["sentence"], **each["numbers"]) for each in gauge["advice"])

    running_run.update_record(machine="another machine")
    reader = RunReader(running_run)
    reader.current_position()
    elsewhere = json.loads(reader._payloads["status"])["gauge"]
    assert elsewhere["peak_share"] is None
    assert PARTS["step"] in {part["name"] for part in elsewhere["parts"]}


def test_the_status_says_how_much_longer_a_run_takes_beside_other_programs(finished_run):
    pace = Pace(training=0.4, waiting=0.2, evaluation=0.0, sampling=0.0, logging=0.0)
    assert _gauge_of(finished_run, pace)["slowdown"] == pytest.approx(2)
    assert _gauge_of(finished_run, pace.replace({"waiting": 0.04}))["slowdown"] is None


def test_the_status_of_a_finished_run_says_how_much_longer_it_took_beside_other_programs(finished_run):
    status = finished_run.status()
    assert 0 <= status.waited < status.seconds
    for waited, slowdown in ((3.0, pytest.approx(4)), (0.4, None)):
        finished_run.write_status(status.model_copy(update={"seconds": 4.0, "waited": waited}))
        assert whole(finished_run)[0][1]["slowdown"] == slowdown


def test_trouble_in_training_is_reassessed_after_a_new_evaluation(running_run):
    reader = RunReader(running_run)
    reader.current_position()
    assert not json.loads(reader._payloads["status"])["progress"]["trouble"]
    running_run.append("metrics", {"step": 20, "val_loss": 9.0, "train_loss": 9.0})
    running_run.write_status(running_run.status().model_copy(update={"val_loss": 9.0, "train_loss": 9.0}))
    reader.current_position()
    assert json.loads(reader._payloads["status"])["progress"]["trouble"]


def test_many_clients_of_a_run_share_one_broadcast(running_run):
    async def scene():
        broadcaster = Broadcaster()
        streams = [broadcaster.watch(running_run) for _ in range(30)]
        first = await asyncio.gather(*(until(stream, steps_of) for stream in streams))
        assert len(broadcaster._broadcasts) == 1
        running_run.append("metrics", {"step": 21, "loss": 2.0})
        chunks = await asyncio.gather(*(anext(stream) for stream in streams))
        assert all(chunk is chunks[0] for chunk in chunks)
        for stream in streams:
            await stream.aclose()
        assert not broadcaster._broadcasts
        return first

    first = asyncio.run(scene())
    assert all(events == first[0] for events in first)


def test_the_stream_ends_when_the_run_stops(running_run):
    async def scene():
        stream = RunBroadcast(running_run).watch()
        await until(stream, steps_of)
        running_run.append("metrics", {"step": 20, "loss": 2.0, "val_loss": 2.1})
        running_run.write_status(running_run.status().model_copy(update={"state": "stopped", "pid": None}))
        return await until(stream, lambda seen: False)

    seen = asyncio.run(scene())
    assert seen[-1][:2] == ("end", {"state": "stopped"}) and 20 in steps_of(seen)


def test_closing_the_server_ends_streams_without_an_end_event(running_run):
    async def scene():
        broadcaster = Broadcaster()
        stream = broadcaster.watch(running_run)
        await until(stream, steps_of)
        broadcaster.close()
        return [chunk async for chunk in stream]

    assert asyncio.run(scene()) == []


def test_a_slow_client_is_disconnected_and_resumes_with_its_cursor(running_run, monkeypatch):
    monkeypatch.setattr("explorer.streaming.broadcaster.MAX_BEHIND", 2)
    monkeypatch.setattr("explorer.streaming.broadcaster.TICK", 0.0)

    async def scene():
        broadcast = RunBroadcast(running_run)
        slow, quick = broadcast.watch(), broadcast.watch()
        seen = await until(slow, steps_of)
        await until(quick, steps_of)
        for step in range(21, 26):
            running_run.append("metrics", {"step": step, "loss": 2.0})
            await until(quick, lambda new, step=step: step in steps_of(new))
        seen += await until(slow, lambda new: False)
        assert seen[-1][0] != "end"
        return seen + await until(broadcast.watch(seen[-1][2]), lambda new: 25 in steps_of(new))

    assert steps_of(asyncio.run(scene())) == [row["step"] for row in running_run.rows("metrics")]


def test_the_stream_of_a_damaged_run_ends_at_once(damaged_run):
    events = whole(damaged_run)
    assert events[-1][0] == "end"


def test_the_stream_ends_when_the_run_is_deleted(running_run):
    async def scene():
        stream = RunBroadcast(running_run).watch()
        await until(stream, steps_of)
        shutil.rmtree(running_run.path)
        return await until(stream, lambda seen: False)

    assert asyncio.run(scene())[-1][0] == "end"


def test_a_new_client_gets_a_bounded_number_of_samples_with_the_last(running_run):
    before = running_run.rows("samples")
    for step in range(11, 2000):
        running_run.append("samples", {"step": step, "text": "To be", "val_loss": 2.0})
    reader = RunReader(running_run)
    steps = steps_of(events_of("".join(reader.events_between(Position(), reader.current_position()))), "samples")
    assert len(steps) <= MAX_SAMPLES and steps[0] == before[0]["step"] and steps[-1] == 1999


def test_rows_that_are_not_valid_json_objects_are_left_out(running_run):
    with running_run.metrics_path.open("ab") as file:
        file.write(b'{"step": 30, "loss": NaN}\n[1]\n\xff\n{"step": 31}\n')
    reader = RunReader(running_run)
    steps = steps_of(events_of("".join(reader.events_between(Position(), reader.current_position()))))
    assert 30 not in steps and steps[-1] == 31
