"""The main job, as a newcomer does it: open the app, train, watch, come back, look inside, generate, stop."""

import re

import psutil
import pytest
from playwright.sync_api import Page, expect

from core.runs.folder import list_runs, open_run
from core.runs.supervisor import Supervisor

pytestmark = pytest.mark.e2e

POINTS = """() => document.querySelector('.st-key-live_loss .js-plotly-plot')?.data
    ?.find(trace => trace.name === 'validation')?.x?.length ?? 0"""


@pytest.fixture(autouse=True)
def stop_runs(server):
    """Stop what a test has left training, so that the next one's run need not wait."""
    yield
    for run in list_runs(server.data_dir):
        if not run.status().ended:
            Supervisor(server.data_dir).stop(run)


def start_a_first_run(page: Page, server) -> str:
    """Home's one button, and the board that it leads to. Returns the run's id."""
    page.goto(server.url)
    page.get_by_role("button", name="Train a first GPT").click()
    return on_the_board(page)


def start_a_long_run(page: Page, server) -> str:
    """The same model for so many steps that it goes on whatever the machine, started from a link."""
    page.goto(
        f"{server.url}/train?preset=gpt-quick&set=train.steps:200000;train.eval_interval:10;train.eval_windows:16"
    )
    page.locator(".st-key-train_start button").click()
    return on_the_board(page)


def on_the_board(page: Page) -> str:
    page.wait_for_url(re.compile(r"/train\?.*run="))
    wait_for_points(page, more_than=2)
    return re.search(r"run=([0-9a-z-]+)", page.url)[1]


def wait_for_points(page: Page, more_than: int) -> int:
    page.wait_for_function(f"() => ({POINTS})() > {more_than}", timeout=120_000)
    return page.evaluate(POINTS)


def walk_to(page: Page, name: str) -> None:
    """Through the sidebar, as a person would; the run on view comes along."""
    page.get_by_test_id("stSidebar").get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_a_newcomer_trains_watches_looks_inside_generates_and_stops(new_server, open_page, color_scheme):
    page = open_page(color_scheme=color_scheme)
    id = start_a_first_run(page, new_server)
    expect(page.locator(".st-key-live_attention canvas").first).to_be_visible()
    expect(page.locator(".st-key-live_embedding text").first).to_be_visible()
    expect(page.locator(".st-key-live_samples")).to_contain_text("step 0")

    before = page.evaluate(POINTS)
    page.reload()
    wait_for_points(page, more_than=before)
    assert id in page.url
    assert "turn" not in {row["kind"] for row in open_run(new_server.data_dir, id).rows("events")}  # nobody did

    walk_to(page, "Look inside")
    assert id in page.url
    prompt = page.locator(".st-key-inspect_prompt input")
    prompt.fill("To be, or not")
    prompt.press("Enter")
    expect(page.locator(".st-key-inspect_board canvas").first).to_be_visible()
    # The run goes on, so the page is drawn anew now and then, and what it was stands beside what it is for a moment.
    page.locator(".st-key-inspect_head input").first.click()
    page.get_by_role("option", name="head 3").click()
    expect(page.get_by_role("heading", name=re.compile(r"^Attention pattern, head 1\.3"))).to_be_visible()
    expect(page.locator(".st-key-inspect_heatmap canvas").first).to_be_visible()

    walk_to(page, "Generate")
    page.locator(".st-key-generate_go button").click()
    expect(page.locator(".generated-readout")).to_contain_text("perplexity", timeout=60_000)
    page.locator(".generated-text .letter").nth(5).hover()
    expect(page.locator(".generated-panel")).to_contain_text("%")

    first = open_run(new_server.data_dir, id)
    if not first.status().ended:  # the next one would wait for it, however long it takes on this machine
        Supervisor(new_server.data_dir).stop(first)
    id = start_a_long_run(page, new_server)
    page.locator(".st-key-train_stop button").click()
    expect(page.locator(".st-key-train_resume button")).to_be_visible()
    assert open_run(new_server.data_dir, id).status().state == "stopped"


def test_training_goes_on_without_the_web_server_and_the_page_finds_it_again(server, open_page):
    page = open_page()
    id = start_a_long_run(page, server)
    run = open_run(server.data_dir, id)
    worker = psutil.Process(run.status().pid)
    address = page.url
    page.close()
    server.kill()
    step = run.rows("metrics")[-1]["step"]
    while run.rows("metrics")[-1]["step"] < step + 50:  # ends because a living worker writes on
        with pytest.raises(psutil.TimeoutExpired):  # it lives on
            worker.wait(timeout=0.2)
    server.start()
    page = open_page()
    page.goto(address)
    wait_for_points(page, more_than=2)
    assert run.status().pid == worker.pid
    page.locator(".st-key-train_pause button").click()
    page.locator(".st-key-train_resume button").wait_for()
    paused_at = run.status().step
    page.locator(".st-key-train_step button").click()
    expect(page.get_by_text(f"Step {paused_at + 1:,}").first).to_be_visible()
    page.locator(".st-key-train_resume button").click()
    page.locator(".st-key-train_pause button").wait_for()


def test_two_clicks_start_one_run(new_server, open_page):
    page = open_page()
    page.goto(f"{new_server.url}/train?preset=gpt-quick")
    page.locator(".st-key-train_start button").dblclick()
    page.wait_for_url(re.compile(r"/train\?.*run="))
    wait_for_points(page, more_than=1)
    assert len(list((new_server.data_dir / "runs").glob("2*"))) == 1


def test_the_zoom_is_kept_while_points_stream_in(server, open_page):
    page = open_page()
    start_a_long_run(page, server)
    chart = "document.querySelector('.st-key-live_loss .js-plotly-plot')"
    box = page.locator(".st-key-live_loss .nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    zoomed = page.evaluate(f"{chart}.layout.yaxis.range.slice()")
    wait_for_points(page, more_than=page.evaluate(POINTS) + 3)
    assert page.evaluate(f"{chart}.layout.yaxis.range.slice()") == zoomed


def test_text_and_names_from_users_never_become_html(new_server, open_page):
    page = open_page()
    attack = "<img src=x onerror=document.title='owned'> ../../x "
    page.goto(f"{new_server.url}/data")
    page.get_by_role("button", name="Use your own text").click()
    page.locator(".st-key-own_title input").fill(attack)
    page.locator(".st-key-own_text textarea").fill(attack * 60)
    page.locator(".st-key-own_text_go button").click()
    expect(page.locator(".st-key-corpus input")).to_have_value(re.compile("onerror"))
    expect(page.get_by_role("button", name="Train with this text")).to_be_enabled()
    page.get_by_role("button", name="Train with this text").click()
    page.locator(".st-key-train_start button").click()
    wait_for_points(page, more_than=1)
    expect(page.locator(".st-key-live_samples")).to_contain_text("step 0")
    assert page.title() != "owned"
    assert page.locator("img[src=x]").count() == 0
    assert {path.name for path in new_server.data_dir.parent.iterdir()} <= {"home", "home.log"}


def test_the_board_fits_a_phone(server, open_page):
    page = open_page(width=390, height=844)
    start_a_long_run(page, server)
    overflow = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth - window.innerWidth")
    assert overflow <= 0
