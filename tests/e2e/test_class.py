"""A class in three browsers: the teacher and two students, from joining to erasing."""

import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from playwright.sync_api import Page, TimeoutError, expect

from core.classroom import Classroom
from core.runs.folder import list_runs
from tests.benchmarks import classroom
from tests.e2e.conftest import opening_pages
from tests.e2e.server import Server

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("class")]

SMALL = "preset=gpt-quick&set=train.steps:20;model.n_layer:1;model.n_embd:16;train.batch_size:4;train.eval_windows:8"


@pytest.fixture(scope="module")
def class_server(tmp_path_factory, measured):
    home = tmp_path_factory.mktemp("class") / "home"
    home.mkdir()
    shutil.copy(measured, home)
    server = Server(home, "--class", "Physics 11b")
    yield server, Classroom(server.data_dir)
    server.close()


def test_a_teacher_and_two_students_share_a_lesson(class_server, visitor, tabs):
    server, known = class_server
    with opening_pages(visitor, tabs, server) as open_page:
        lesson(server, known, open_page)


def test_a_whole_class_opens_one_shared_run(class_server):
    server, known = class_server  # the class was erased by the test before
    small = {"train.steps": 20, "model.n_layer": 1, "model.n_embd": 16, "train.batch_size": 4, "train.eval_windows": 8}
    run = classroom.train_shared(server.data_dir, small)
    with ThreadPoolExecutor(1) as thread:  # Playwright's event loop runs in the main thread
        seconds, drawn = thread.submit(classroom.open_shared_run, server, known, run).result()
    assert drawn == len(seconds) == classroom.STUDENTS * len(classroom.SHARED_PAGES)
    assert server.answers()


def lesson(server: Server, known: Classroom, open_page: Callable[..., Page]) -> None:

    def joined(nickname: str) -> Page:
        page = open_page(another=True)
        page.goto(f"{server.url}/")
        page.get_by_label("Class code").fill(known.code)
        page.get_by_label("Nickname").fill(nickname)
        page.get_by_role("button", name="Join").click()
        expect(page.get_by_text(f"Physics 11b · {nickname}")).to_be_visible()
        return page

    ada, bob, teacher = joined("Ada"), joined("Bob"), open_page(another=True)
    teacher.goto(f"{server.url}/teach#{known.teacher_key}")
    expect(teacher.get_by_text(known.code)).to_be_visible()

    teacher.locator(".st-key-sizes_steps input").fill("20")
    teacher.locator(".st-key-sizes_steps input").press("Enter")
    teacher.locator(".st-key-sizes_hand_out button").click()
    expect(teacher.get_by_text("Runs done: 0.")).to_be_visible()
    ada.goto(f"{server.url}/train")
    expect(ada.get_by_text("Your size: 1 layer, 16 wide")).to_be_visible()
    ada.locator(".st-key-own_size_take button").click()
    ada.wait_for_url(re.compile(r"/train\?.*train.steps"))
    ada.locator(".st-key-train_start button").click()
    ada.wait_for_url(re.compile(r"/train\?.*run="))
    ada.get_by_text("for 20 steps").wait_for(timeout=120_000)
    (run,) = list_runs(known.root)
    bob.goto(f"{server.url}/train?run={run.id}")
    expect(bob.get_by_text("There is no run with the id")).to_be_visible()
    ada.locator(f".st-key-share_{run.id} label").first.click()
    expect(ada.locator(f".st-key-share_{run.id} input")).to_be_checked()
    bob.reload()
    expect(bob.get_by_text(f"shared · {run.name}")).to_be_visible()
    expect(bob.locator(".st-key-train_stop, .st-key-live_settings")).to_have_count(0)
    bob.goto(f"{server.url}/classroom")
    opened = re.compile(rf"/look_inside\?.*run={run.id}")
    point = bob.locator(".st-key-wall_chart .scatterlayer .point").first
    for patience in (5_000, 5_000, 60_000):  # a chart ignores clicks while plotly lays it out
        point.hover(force=True)
        point.click(force=True)
        with suppress(TimeoutError):
            bob.wait_for_url(opened, timeout=patience)
            break
    expect(bob).to_have_url(opened)
    expect(teacher.get_by_text("Runs done: 1. Different sizes: 1 of 5.")).to_be_visible()

    teacher.locator(".st-key-game_start button").click()
    bob.goto(f"{server.url}/play")
    expect(bob.get_by_text("The game of the class.")).to_be_visible()
    bob.locator(".st-key-play_tell button:visible").click()
    expect(bob.locator(".board-letter")).to_have_count(1)
    expect(teacher.locator(".st-key-class_game")).to_contain_text("1 player has guessed a character.")
    expect(teacher.locator(".st-key-class_game_chart")).to_contain_text("Bob")
    bob.goto(f"{server.url}/classroom")

    teacher.locator(".st-key-class_frozen label").click()
    expect(bob.get_by_text("Your teacher has paused")).to_be_visible()
    ada.goto(f"{server.url}/train?{SMALL}")
    expect(ada.locator(".st-key-train_start button")).to_be_disabled()
    teacher.locator(".st-key-class_frozen label").click()
    expect(bob.get_by_text("Your teacher has paused")).to_have_count(0)

    teacher.goto(f"{server.url}/look_inside?run={run.id}")
    teacher.locator(".st-key-bring_0 button").first.click()
    teacher.locator(".st-key-bring_class button").click()
    bob.wait_for_url(re.compile(rf"/look_inside\?.*run={run.id}"))
    expect(bob.get_by_text(f"Your teacher brought the class here: Ada's run {run.name}.")).to_be_visible()
    teacher.locator(".st-key-mirror label").first.click()
    expect(bob.get_by_text("All see your teacher's screen now")).to_be_visible()
    bob.goto(f"{server.url}/data")  # and is redirected back
    teacher.locator(".st-key-inspect_prompt input").fill("Speak")
    teacher.locator(".st-key-inspect_prompt input").press("Enter")
    bob.wait_for_url(re.compile(r"/look_inside\?.*prompt=Speak"))
    expect(bob.locator(".st-key-inspect_prompt input")).to_have_value("Speak")
    teacher.goto(f"{server.url}/generate?run={run.id}")
    teacher.locator(".st-key-generate_prompt textarea").fill("Speak, sir")
    teacher.locator(".st-key-generate_go button").click()
    expect(bob.locator(".st-key-generate_prompt textarea")).to_have_value("Speak, sir")
    expect(bob.locator(".st-key-written")).to_contain_text("Speak, sir")
    teacher.locator(".st-key-mirror label").first.click()
    expect(bob.get_by_text("All see your teacher's screen now")).to_have_count(0)

    ada.close()  # its streams will be refused, an error in its console
    bob.goto(f"{server.url}/data")  # a page without streams
    teacher.goto(f"{server.url}/classroom")
    teacher.get_by_role("button", name="Erase the class").click()
    teacher.locator(".st-key-erase_code input").fill(known.code)
    teacher.locator(".st-key-erase_code input").press("Enter")
    teacher.locator(".st-key-erase_go button").click()
    expect(teacher.get_by_text("Nobody has joined yet")).to_be_visible()
    expect(bob.get_by_text("You are not in this class any more")).to_be_visible()
    assert known.members() == [] and list_runs(known.root) == []
