"""Users of a class reach their own runs and texts and no others, by any route and any command."""

import inspect
import io
import json
import threading
import time
import zipfile

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from core.classroom import ClassError, Classroom, checked_nickname
from core.config import RunConfig
from core.errors import ExplorerError, RunError, TextError
from core.paths import mark_shared, member_home
from core.runs.ancestry import check_allowed, fork, short_config
from core.runs.folder import list_runs, open_run
from core.runs.gallery import gallery_runs
from core.runs.queue import existing_supervisor_lock, supervisor_lock
from core.runs.supervisor import Supervisor
from core.sweeps.rate_finder import range_test
from core.text.corpora import catalogue, load_corpus
from core.text.own_text import delete_text, save_text
from explorer.classroom.hand_in import answer_table, reports, stuck
from explorer.data.corpus_cards import facts_of
from explorer.learn.state import load_data
from explorer.services import shared, visitors
from explorer.services.visitors import COOKIE, NotAllowed
from explorer.streaming.broadcaster import Broadcaster
from explorer.web import class_access
from explorer.web.class_access import WRONG_OF_ONE
from explorer.web.routes import api_routes

SECRET = "The secret of Ada is kept in this very text. " * 40


def home_of(known: Classroom, nickname: str):
    return member_home(known.root, next(member.id for member in known.members() if member.nickname == nickname))


def as_visitor(browser: TestClient):
    """Let this thread work for the user of a browser, as a page would."""
    visitors.set_visitor(visitors.visitor_of(f"{COOKIE}={browser.cookies.get(COOKIE)}"))


def test_every_route_of_a_run_answers_only_its_owner_and_the_teacher(people, run_of_ada):
    values = {"id": run_of_ada.id, "step": "20"}
    routes = [route for route in api_routes(Broadcaster()) if "{id}" in route.path]
    assert len(routes) >= 4
    for route in routes:
        address = route.path.format(**values) + "?prompt=To"
        answers = {name: browser.get(address).status_code for name, browser in people.items()}
        assert answers == {"nobody": 401, "teacher": 200, "Ada": 200, "Bob": 404}, address
        missing = people["Bob"].get(address.replace(run_of_ada.id, "20260101-000000-zzzzzzzzzzzz"))
        assert missing.text.replace("20260101-000000-zzzzzzzzzzzz", run_of_ada.id) == people["Bob"].get(address).text


def test_students_get_the_worksheet_and_only_the_teacher_gets_the_guide(people):
    answers = {}
    for paper in ("worksheet", "guide", "key"):
        address = f"/api/lessons/sudden/{paper}"
        answers[paper] = {name: browser.get(address) for name, browser in people.items()}
    codes = {paper: {name: each.status_code for name, each in row.items()} for paper, row in answers.items()}
    assert codes["worksheet"] == {"nobody": 401, "teacher": 200, "Ada": 200, "Bob": 200}
    assert codes["guide"] == {"nobody": 401, "teacher": 200, "Ada": 404, "Bob": 404}
    assert answers["guide"]["Ada"].text == answers["key"]["Ada"].text
    assert "Expected answer" not in answers["worksheet"]["Ada"].text
    assert "Training text" not in answers["guide"]["teacher"].text  # its models come with the app


def test_a_shared_run_can_be_read_but_not_changed_by_others(known, people, run_of_ada):
    mark_shared(known.root, run_of_ada.id)
    for route in (f"/api/runs/{run_of_ada.id}/{end}" for end in ("stream", "frames/20", "generate", "download")):
        assert people["Bob"].get(route).status_code == 200
    as_visitor(people["Bob"])
    borrowed = open_run(shared.data_dir(), run_of_ada.id)
    before = {file: file.read_bytes() for file in run_of_ada.path.rglob("*") if file.is_file()}
    supervisor, status = shared.supervisor(), borrowed.status()
    more = {"change_setting": ("train.steps", 99), "continue_for": (5,)}
    verbs = [
        name
        for name, verb in inspect.getmembers(Supervisor, inspect.isfunction)
        if not name.startswith("_") and "folder" in inspect.signature(verb).parameters
    ]
    assert len(verbs) >= 8
    for verb in verbs:
        with pytest.raises(RunError, match="belongs to somebody else"):
            getattr(supervisor, verb)(borrowed, *more.get(verb, ()))
    with pytest.raises(RunError, match="belongs"):
        borrowed.rename("mine")
    assert borrowed.status() == status
    assert before == {file: file.read_bytes() for file in run_of_ada.path.rglob("*") if file.is_file()}
    mark_shared(known.root, run_of_ada.id, shared=False)
    assert people["Bob"].get(f"/api/runs/{run_of_ada.id}/stream").status_code == 404


def test_a_run_records_who_renamed_or_deleted_it(known, people, run_of_ada):
    as_visitor(people["teacher"])
    run_of_ada.rename("tidy-toad", visitors.acting_on(run_of_ada))
    assert (run_of_ada.record().former_name, run_of_ada.record().changed_by) == ("patient-otter", "the teacher")
    home, absent = run_of_ada.data_dir, "20260101-000000-zzzzzzzzzzzz"
    shared.supervisor().delete(run_of_ada, by=visitors.acting_on(run_of_ada))
    with pytest.raises(RunError, match="'tidy-toad' was deleted by the teacher"):
        open_run(home, run_of_ada.id)
    said = {}
    for id in (run_of_ada.id, absent):
        with pytest.raises(RunError, match="is not shared any more") as refused:
            open_run(home_of(known, "Bob"), id)
        said[id] = str(refused.value).replace(id, "")
    assert said[run_of_ada.id] == said[absent]
    as_visitor(people["Ada"])
    assert visitors.acting_on(run_of_ada) == ""


def test_runs_and_texts_of_others_are_not_listed(known, people, run_of_ada):
    text = run_of_ada.record().config.data.corpus
    seen = {}
    for name in ("teacher", "Ada", "Bob"):
        as_visitor(people[name])
        home = shared.data_dir()
        seen[name] = (len(list_runs(home)), text in {corpus.name for corpus in catalogue(home)})
    assert seen == {"teacher": (1, False), "Ada": (1, True), "Bob": (0, False)}
    as_visitor(people["teacher"])
    assert load_corpus(text, shared.data_dir())  # for a student's run that the teacher inspects
    with pytest.raises(TextError, match="somebody else"):
        delete_text(text, shared.data_dir())
    as_visitor(people["Bob"])
    with pytest.raises(TextError):
        load_corpus(text, shared.data_dir())


def test_the_statistics_of_a_text_are_cached_for_the_class_but_access_is_checked(known, people, run_of_ada):
    homes = [known.root, home_of(known, "Ada"), home_of(known, "Bob")]
    for count in (facts_of, load_data):
        assert len({id(count("surnames", home)) for home in homes}) == 1
        count(run_of_ada.record().config.data.corpus, homes[1])
        with pytest.raises(TextError):  # even if another member has computed it
            count(run_of_ada.record().config.data.corpus, homes[2])


def test_a_text_shared_by_the_teacher_can_be_read_by_all_members(known, people):
    corpus = save_text(SECRET, "For all", known.root)
    home = home_of(known, "Bob")
    with pytest.raises(TextError):
        load_corpus(corpus.name, home)
    mark_shared(known.root, corpus.name)
    assert load_corpus(corpus.name, home) == SECRET
    assert [entry.own for entry in catalogue(home) if entry.name == corpus.name] == [False]
    with pytest.raises(TextError, match="somebody else"):
        delete_text(corpus.name, home)


def test_visitors_who_have_not_joined_reach_no_page_and_no_websocket(people):
    for path in ("/", "/train", "/_stcore/host-config", "/api/news", "/media/x"):
        assert people["nobody"].get(path, headers={"accept": "*/*"}).status_code == 401
    page = people["nobody"].get("/train", headers={"accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, "/join")
    with pytest.raises(WebSocketDisconnect) as refused, people["nobody"].websocket_connect("/_stcore/stream"):
        pass
    assert refused.value.code == 1008
    assert visitors.visitor_of("") is None
    with pytest.raises(NotAllowed):  # a thread without a visitor
        shared.data_dir()


def test_cookies_are_signed_expire_and_stay_valid_after_a_restart(known, people, monkeypatch):
    cookie = people["Ada"].cookies.get(COOKIE)
    assert Classroom(known.root).visitor(cookie).nickname == "Ada"  # a second Classroom, as after a restart
    signed, _, signature = cookie.rpartition(".")
    assert known.visitor(f"{signed}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}") is None
    assert known.visitor("") is known.visitor("x.y.z") is None
    set_cookie = people["nobody"].post("/join", data={"code": known.code, "nickname": "Cleo"}).headers["set-cookie"]
    assert "HttpOnly" in set_cookie and "SameSite=lax" in set_cookie
    member = next(member for member in known.members() if member.nickname == "Ada")
    known.let_in_again(member.id)
    assert known.visitor(cookie) is None
    again = known.visitor(known.join(known.code, "ADA"))
    assert again.member == member.id  # the same student, with the same runs
    monkeypatch.setattr(time, "time", lambda clock=time.time: clock() + 15 * 86400)
    assert known.visitor(known.join(known.code, "Dan")) is not None
    assert known.visitor(people["Bob"].cookies.get(COOKIE)) is None  # after 14 days


def test_a_taken_or_invalid_nickname_is_refused(known, people):
    taken = people["nobody"].post("/join", data={"code": known.code, "nickname": "  ada "})
    assert taken.status_code == 403 and "is taken" in taken.text
    for nickname in ("", "x" * 25, "<b>Eve</b>", "=1+1", "Eve\u202e", "\n"):
        with pytest.raises(ClassError):
            known.join(known.code, nickname)
    assert checked_nickname("  Zoë  B. ") == "Zoë B."
    script = people["nobody"].post("/join", data={"code": "<script>", "nickname": "<script>alert(1)</script>"})
    assert "<script>" not in script.text
    assert known.join(known.code.upper().replace("-", ""), "Eve")
    assert people["nobody"].post("/join", content=b"x" * 9000).status_code == 403


def test_after_too_many_wrong_codes_a_visitor_must_wait(known, people, monkeypatch):
    for _ in range(WRONG_OF_ONE):
        assert people["nobody"].post("/join", data={"code": "guess", "nickname": "Eve"}).status_code == 403
    waits = people["nobody"].post("/join", data={"code": known.code, "nickname": "Eve"})
    assert waits.status_code == 429 and 0 < int(waits.headers["retry-after"]) <= 61
    monkeypatch.setattr(class_access, "_MINUTE", 0.0)
    assert people["nobody"].post("/join", data={"code": known.code, "nickname": "Eve"}).status_code == 303


def test_only_the_key_from_the_terminal_gives_the_teachers_rights(known, people):
    assert people["nobody"].post("/teach", data={"key": known.code}).status_code == 403
    assert known.visitor(people["teacher"].cookies.get(COOKIE)).is_teacher
    assert not known.visitor(people["Ada"].cookies.get(COOKIE)).is_teacher
    assert known.teacher_key not in people["nobody"].get("/teach").text


def test_limits_of_the_class_hold_wherever_runs_are_started(known, people, run_of_ada):
    home, config = run_of_ada.data_dir, run_of_ada.record().config
    known.change(most_parameters=100)
    with pytest.raises(ClassError, match="your class allows 100"):
        fork(home, run_of_ada, 20, config)
    with pytest.raises(ClassError, match="your class allows 100"):
        next(range_test(config, home))
    known.change(most_parameters=10**7, most_steps=config.train.steps - 1)
    with pytest.raises(ClassError, match="would train for"):
        check_allowed(home, config, 30)
    known.change(most_steps=10**7, text="surnames")
    with pytest.raises(ClassError, match="has chosen the text"):
        check_allowed(home, config, 30)
    assert short_config(home, config).data.corpus == "surnames"
    known.change(text="", most_minutes=0.0)
    with pytest.raises(ClassError, match="Choose fewer steps"):
        check_allowed(home, config, 30)
    as_visitor(people["Ada"])
    for longer in (("change_setting", "train.steps", 10**6), ("continue_for", 10**5)):
        with pytest.raises(ClassError, match="Choose fewer steps"):
            getattr(shared.supervisor(), longer[0])(run_of_ada, *longer[1:])
    known.change(most_minutes=60.0, most_megabytes=0)
    with pytest.raises(ClassError, match="Delete what you no longer need"):
        fork(home, run_of_ada, 20, config)
    with pytest.raises(ClassError, match="Delete what"):
        save_text(SECRET, "More", home)
    known.change(most_megabytes=500)
    queue = shared.supervisor().queue
    for id in ("one", "two"):
        queue.put(id, home.name)
    with pytest.raises(ClassError, match="as many runs"):
        check_allowed(home, RunConfig(), 30)
    assert len(list_runs(home)) == 1  # no run was started
    queue.remove("one"), queue.remove("two")
    known.change(frozen=True)
    with pytest.raises(ClassError, match="paused the class"):
        fork(home, run_of_ada, 20, config)
    assert len(list_runs(home)) == 1
    as_visitor(people["Ada"])
    with pytest.raises(NotAllowed):
        shared.supervisor_for_visitor()
    as_visitor(people["teacher"])
    assert shared.supervisor_for_visitor()


def test_predictions_are_closed_once_the_answers_are_revealed(known):
    with pytest.raises(ClassError, match="2 to 6"):
        known.ask("Which loss is lower?", ["2 layers", " 2 layers "])
    known.ask("Which loss is lower?", ["2 layers", "4 layers", ""])
    known.predict("a", "2 layers")
    known.predict("a", "4 layers")
    with pytest.raises(ClassError, match="closed"):
        known.predict("b", "6 layers")
    known.change(revealed=True)
    with pytest.raises(ClassError, match="closed"):
        known.predict("b", "2 layers")
    assert known.predictions() == {"a": "4 layers"}
    known.ask("And now?", ["yes", "no"])
    assert known.predictions() == {} and not known.settings.revealed


def test_answers_and_reports_reach_the_teacher(known, people, run_of_ada):
    as_visitor(people["Ada"])
    for response in ("1", "2", "=3"):
        visitors.note_answer("bigram: counts", response, "4", is_right=False)
    assert stuck(known) == {run_of_ada.member: "bigram: counts"}
    visitors.note_answer("bigram: counts", "4", "4", is_right=True)
    visitors.note_answer("bigram: counts", "5", "4", is_right=False)  # the question was already answered correctly
    visitors.hand_in(run_of_ada.id)
    table = answer_table(known)
    assert table == {"Student": ["Ada", "Bob"], "Runs handed in": ["1", "0"], "bigram: counts": ["✓ 4 (4)", ""]}
    assert not stuck(known)
    with zipfile.ZipFile(io.BytesIO(reports(known))) as archive:
        (name,) = archive.namelist()
        assert name.startswith("ada-") or name.startswith("Ada-")
        assert run_of_ada.name in archive.read(name).decode()


def test_a_worker_in_a_members_folder_waits_for_the_supervisor_lock_of_the_class(known, people):
    """Otherwise a worker could check its assignment before its process id is recorded, and end at once."""
    entered = threading.Event()

    def worker() -> None:
        with existing_supervisor_lock(home_of(known, "Ada") / "runs"):
            entered.set()

    with supervisor_lock(known.root / "runs"):
        thread = threading.Thread(target=worker)
        thread.start()
        assert not entered.wait(0.3)
    thread.join()
    assert entered.is_set()


def test_every_member_can_open_a_gallery_run(people):
    for name in ("teacher", "Ada", "Bob"):
        assert people[name].get(f"/api/runs/{gallery_runs()[0].id}/stream").status_code == 200


def test_erasing_a_class_deletes_all_its_data(known, people, run_of_ada):
    mark_shared(known.root, run_of_ada.id)
    save_text(SECRET, "Secret", run_of_ada.data_dir)
    known.erase()
    assert known.members() == [] and known.visitor(people["Ada"].cookies.get(COOKIE)) is None
    data = b"".join(file.read_bytes() for file in known.root.rglob("*") if file.is_file())
    assert b"secret of Ada" not in data and run_of_ada.id.encode() not in data and b"Ada" not in data
    assert not run_of_ada.path.exists()
    with pytest.raises(ExplorerError):
        open_run(known.root, run_of_ada.id)


@pytest.mark.parametrize("weights", [False, True])
def test_only_the_teacher_gets_the_zip_of_the_class_and_it_contains_no_secrets(known, people, run_of_ada, weights):
    as_visitor(people["Ada"])
    visitors.note_answer("bigram: counts", "=1", "4", is_right=False)
    visitors.hand_in(run_of_ada.id)
    known.ask("Which loss is lower?", ["2 layers", "4 layers"])
    known.predict(run_of_ada.member, "2 layers")
    address = f"/api/class.zip?weights={int(weights)}"
    answers = {name: browser.get(address) for name, browser in people.items()}
    assert {name: answer.status_code for name, answer in answers.items()} == {
        "nobody": 401, "teacher": 200, "Ada": 404, "Bob": 404
    }  # fmt: skip
    with zipfile.ZipFile(io.BytesIO(answers["teacher"].content)) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name) for name in archive.namelist()}
    about = json.loads(files["class.json"])
    assert [member["nickname"] for member in about["members"]] == ["Ada", "Bob"]
    assert about["predictions"] == {"Ada": "2 layers"} and about["answers"][0]["member"] == "Ada"
    run = f"members/001-Ada/runs/{run_of_ada.id}"
    assert files[f"{run}/metrics.jsonl"] == run_of_ada.path.joinpath("metrics.jsonl").read_bytes()
    assert {f"{run}/run.json", f"{run}/status.json", "answers.csv"} <= files.keys()
    assert sum(name.startswith("reports/") for name in files) == 1
    assert any(SECRET.encode() in content or name.endswith(".txt") for name, content in files.items())
    assert any(name.endswith(".safetensors") for name in files) == weights
    secrets = [known.teacher_key, known.code, known._serializer.secret_keys[0]]
    secrets += [browser.cookies.get(COOKIE) for browser in people.values() if browser.cookies]
    everything = b"".join(files.values())
    for secret in secrets:
        assert (secret if isinstance(secret, bytes) else secret.encode()) not in everything
