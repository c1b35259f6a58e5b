"""What the teacher of a class shows, hides and hands out, and when open streams end."""

import asyncio
import json
import sqlite3
from math import log10

import pytest

from core.classroom import ClassError, Classroom
from core.config import SETTINGS
from core.errors import RunError
from core.paths import mark_shared
from core.presets import preset
from core.runs.ancestry import check_allowed, check_cost, fork, fork_config, short_config
from core.runs.folder import list_runs, open_run
from core.runs.gallery import gallery_runs, runs_with_weights
from core.runs.machine import estimate_run
from core.training.work import exact_parameters
from explorer.classroom.screen import run_of_whom
from explorer.classroom.wall import axis_span
from explorer.services import shared
from explorer.services.visitors import COOKIE, NotAllowed
from explorer.streaming.broadcaster import Broadcaster
from explorer.train.estimated_cost import class_limit, most_steps
from explorer.web.class_access import ClassAccess
from explorer.web.routes import api_routes
from tests.explorer.web.test_class import as_visitor, home_of


def test_a_short_link_opens_its_page_only_for_members(known, people):
    address = "train?preset=gpt-tiny&set=train.steps:50"
    code = known.link_code(address)
    assert known.link_code(address) == code != known.link_code("play?letters=15")
    for name in ("teacher", "Ada"):
        for typed in (code, code.upper()):
            answer = people[name].get(f"/j/{typed}")
            assert (answer.status_code, answer.headers["location"]) == (303, f"/{address}")
    lost = people["Ada"].get("/j/0000")
    assert lost.status_code == 404 and "no link" in lost.text
    nobody = people["nobody"]
    redirect = nobody.get(f"/j/{code}", headers={"accept": "text/html"})
    assert redirect.headers["location"] == f"/join?next={code}"
    assert f'value="{code}"' in nobody.get(redirect.headers["location"]).text
    assert "evil" not in nobody.get("/join?next=//evil.example").text
    joined = nobody.post("/join", data={"code": known.code, "nickname": "Cleo", "next": code})
    assert joined.headers["location"] == f"/j/{code}"
    elsewhere = nobody.post("/join", data={"code": known.code, "nickname": "Dan", "next": "//evil.example"})
    assert elsewhere.headers["location"] == "/"
    known.erase()
    assert known.linked_address(code) is None


def test_students_cannot_change_a_hidden_setting(known, people, run_of_ada):
    home = run_of_ada.data_dir
    known.change(hidden=["model.n_layer", "Evaluation"])
    quick = preset("gpt-quick")
    check_allowed(home, quick.replace({"train.steps": 20}), 30)
    for changes in ({"model.n_layer": 1}, {"train.eval_interval": 7}):
        with pytest.raises(ClassError, match="has hidden the setting"):
            check_allowed(home, quick.replace(changes), 30)
    check_allowed(known.root, quick.replace({"model.n_layer": 1}), 30)  # the teacher is not limited
    config = fork_config(run_of_ada, 20)  # the run already differs from its preset
    assert fork(home, run_of_ada, 20, config).path.is_dir()
    with pytest.raises(ClassError, match="has hidden"):
        fork(home, run_of_ada, 20, config.replace({"train.eval_interval": 7}))
    known.change(hidden=["train.steps"])
    as_visitor(people["Ada"])
    for verb, *values in (("change_setting", "train.steps", 50), ("continue_for", 5)):
        with pytest.raises(ClassError, match="has hidden"):
            getattr(shared.supervisor(), verb)(run_of_ada, *values)


def test_the_quick_run_is_shortened_to_the_limits_of_the_class(known, people):
    home, quick = home_of(known, "Ada"), preset("gpt-quick")
    assert short_config(known.root, quick) == quick
    short = short_config(home, quick)
    assert short.train.steps < quick.train.steps
    known.change(most_minutes=0.7 * estimate_run(short, 65, known.root).seconds / 60)
    shorter = short_config(home, quick)
    assert 0 < shorter.train.steps < short.train.steps
    check_allowed(home, shorter, 65)


def test_the_gallery_is_closed_while_a_question_is_open(known, people, run_of_ada):
    id, home = gallery_runs()[0].id, home_of(known, "Bob")
    known.ask("Which loss is lower?", ["2 layers", "4 layers"])
    assert people["Bob"].get(f"/api/runs/{id}/stream").status_code == 404
    assert people["teacher"].get(f"/api/runs/{id}/stream").status_code == 200
    assert not list(runs_with_weights(home)) and [run.id for run in runs_with_weights(run_of_ada.data_dir)]
    with pytest.raises(RunError, match="closed until your teacher"):
        open_run(home, id)
    known.change(revealed=True)
    assert open_run(home, id)
    known.ask("Who is done?", ["yes", "no"], closes_gallery=False)
    assert open_run(home, id)


def test_students_can_change_nothing_while_the_teachers_screen_is_mirrored(known, people, run_of_ada):
    as_visitor(people["Ada"])
    known.change(mirrored=True)
    with pytest.raises(NotAllowed, match="your teacher's screen"):
        shared.supervisor_for_visitor()
    with pytest.raises(ClassError):
        fork(run_of_ada.data_dir, run_of_ada, 20, run_of_ada.record().config)
    assert run_of_whom(known, run_of_ada.id) == f"your own run {run_of_ada.name}"
    as_visitor(people["Bob"])
    assert run_of_whom(known, run_of_ada.id) == f"Ada's run {run_of_ada.name}"
    assert len(list_runs(known.root)) == 1


def test_the_axes_of_the_class_wall_have_a_minimum_span():
    low, high = axis_span([2.01, 2.0, 2.02], logarithmic=False)["range"]
    assert high - low > 0.4 and low < 2.0 and high > 2.02
    low, high = axis_span([1000, 1001], logarithmic=True)["range"]
    assert high - low > log10(2)
    low, high = axis_span([1.0, 4.0], logarithmic=False)["range"]
    assert low < 1.0 and high > 4.0
    assert "range" not in axis_span([], logarithmic=True)


@pytest.mark.parametrize("ended_by", ["unshare", "erase", "leave"])
def test_an_open_stream_ends_when_access_ends_or_the_browser_leaves(known, people, run_of_ada, ended_by, monkeypatch):
    monkeypatch.setattr("explorer.web.routes.CHECK_SECONDS", 0.05)
    run_of_ada.write_status(
        run_of_ada.status().model_copy(update={"state": "queued"})
    )  # a queued run keeps its stream open
    mark_shared(known.root, run_of_ada.id)
    cookie = f"{COOKIE}={people['Bob'].cookies.get(COOKIE)}"
    broadcaster = Broadcaster()
    routes = {route.path: route for route in api_routes(broadcaster)}

    async def watch(path: str) -> list[bytes]:
        """Return the chunks of a stream that is open when access to it ends."""
        sent: list[bytes] = []
        begun, left = asyncio.Event(), asyncio.Event()

        async def receive() -> dict:
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict) -> None:
            if message.get("body"):
                sent.append(message["body"])
                begun.set()

        address = path.replace("{id}", run_of_ada.id)
        scope = {
            "type": "http", "method": "GET", "path": address, "raw_path": address.encode(), "root_path": "",
            "query_string": f"run={run_of_ada.id}".encode() if path == "/api/news" else b"",
            "headers": [(b"cookie", cookie.encode()), (b"host", b"testserver")],
        }  # fmt: skip

        async def app(scope: dict, receive, send) -> None:
            scope["path_params"] = {"id": run_of_ada.id} if "{id}" in path else {}
            await routes[path].app(scope, receive, send)

        serving = asyncio.create_task(ClassAccess(app)(scope, receive, send))
        await begun.wait()
        if ended_by == "unshare":
            mark_shared(known.root, run_of_ada.id, shared=False)
        elif ended_by == "erase":
            await asyncio.to_thread(known.erase)
        else:
            left.set()
        await asyncio.wait_for(serving, 30)
        return sent

    path = "/api/news" if ended_by == "leave" else "/api/runs/{id}/stream"
    assert asyncio.run(watch(path))
    assert not broadcaster._broadcasts  # no clients remain
    if ended_by == "erase":
        assert not list((known.root / "members").iterdir())


def test_the_digest_of_a_shared_run_changes_when_sharing_ends(known, people, run_of_ada):
    as_visitor(people["Bob"])

    async def digests() -> list[str]:
        mark_shared(known.root, run_of_ada.id)
        found = []
        async for chunk in Broadcaster().news([run_of_ada.id]):
            found.append(json.loads(chunk.decode().split("data: ")[1].split("\n")[0])["digest"])
            if len(found) == 2:
                return found
            mark_shared(known.root, run_of_ada.id, shared=False)
        return found

    first, second = asyncio.run(asyncio.wait_for(digests(), 30))
    assert first != second


def test_sliders_end_at_the_limits_of_the_class_for_students_only(known, people):
    home, config = home_of(known, "Ada"), preset("gpt-tiny")
    steps = "train.steps"
    limit = lambda path: class_limit(path, SETTINGS[path], config, lambda _config: 65)  # noqa: E731
    known.change(most_parameters=exact_parameters(config.model, 65) * 3, most_steps=3000, most_minutes=1e6)
    as_visitor(people["Ada"])
    for path in ("model.n_layer", "model.n_embd", steps):
        most, why = limit(path)
        assert SETTINGS[path].low < most < SETTINGS[path].high and "Limit of your class" in why
        check_cost(home, config.replace({path: most}), 65)
        with pytest.raises(ClassError, match="your class allows"):
            check_cost(home, config.replace({path: 2 * most}), 65)
    assert limit(steps)[0] == 3000 == most_steps()
    known.change(most_minutes=estimate_run(config.replace({steps: 1000}), 65, known.root).seconds / 60)
    most, why = limit(steps)
    assert most == 1000 and "time" in why
    as_visitor(people["teacher"])
    assert limit(steps) == (None, "")


def test_class_settings_are_cached_until_another_process_changes_them(known, people, monkeypatch):
    other, cookie = Classroom(known.root), people["Ada"].cookies.get(COOKIE)
    before = known.settings
    monkeypatch.setattr("core.classroom._SETTLED", -1)
    assert known.settings == known.settings == before and known.visitor(cookie) == known.visitor(cookie)
    with monkeypatch.context() as closed:
        closed.setattr(sqlite3, "connect", None)
        assert known.settings == before and known.visitor(cookie)
    monkeypatch.undo()
    for message in ("one", "two", "three"):
        other.change(message=message)
        assert known.settings.message == message
    other.let_in_again(known.visitor(cookie).member)
    assert known.visitor(cookie) is None
