"""Look inside, as a person uses it: drawings can be saved, and ablating a head changes the loss."""

import csv
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.board import at_rest, wait_until

pytestmark = pytest.mark.e2e


@pytest.fixture
def page(open_page, trained_run) -> Page:
    return open_page()


def saved(page: Page, button: Locator) -> str:
    with page.expect_download() as download:
        button.click()
    return Path(download.value.path()).read_text(encoding="utf-8-sig")


def take_along(page: Page, key: str) -> tuple[ElementTree.Element, list[dict[str, str]]]:
    """Return the SVG and CSV of a drawing; check that its table, opened by keyboard, shows the same numbers."""
    svg = page.locator(f".st-key-{key}").get_by_role("button", name="SVG")
    expect(svg).to_be_visible()
    text = saved(page, page.locator(f".st-key-{key}").get_by_role("button", name="CSV"))
    page.locator(f".st-key-{key}").get_by_role("button", name="Table").press("Enter")
    table = page.get_by_role("dialog", name=re.compile("."))
    expect(table.get_by_role("button", name="Close")).to_be_focused()
    names, *rows = table.locator("tr").evaluate_all(
        "all => all.map(({ cells }) => [...cells].map((c) => c.textContent))"
    )
    assert len(names) == table.get_by_role("columnheader").count()
    page.keyboard.press("Escape")
    expect(table).to_have_count(0)
    shown = re.sub(r"(?m)(^|,)'(?=[=+@-])", r"\1", text)  # without the escapes for spreadsheet formulas
    header, *lines = csv.reader(io.StringIO(shown, newline=""))
    assert names == header and len(rows) == min(len(lines), 300)
    assert [rows[0], rows[-1]] == [lines[0], lines[-1]]
    assert len(lines) > 300 or rows == lines
    return ElementTree.fromstring(saved(page, svg)), list(csv.DictReader(text.splitlines()))


def test_drawings_are_saved_as_svg_and_csv(page, server, trained_run):
    page.goto(f"{server.url}/look_inside?run={trained_run.id}&view=Attention")
    expect(page.locator(".st-key-inspect_arcs .arcs-letter").first).to_be_visible()
    tokens = page.locator(".st-key-inspect_arcs .arcs-letter").count()
    heads, looks = take_along(page, "inspect_board")
    assert len(looks) == len({(row["layer"], row["head"]) for row in looks}) * tokens * (tokens + 1) / 2
    assert heads.findall(".//{*}path")  # drawn as vectors, not as an image
    assert not heads.findall(".//{*}image")
    arcs, _ = take_along(page, "inspect_arcs")
    written = "".join(text.text for text in arcs.findall(".//{*}text"))
    assert written == "".join(page.locator(".st-key-inspect_arcs .arcs-letter").all_inner_texts())
    strips, numbers = take_along(page, "cell_steps")
    assert len(strips.findall(".//{*}text")) > len(numbers) > tokens

    page.goto(f"{server.url}/look_inside?run={trained_run.id}&view=Embeddings")
    expect(page.locator(".st-key-neighbours .js-plotly-plot")).to_be_visible()
    bars, neighbours = take_along(page, "neighbours_take")
    assert bars.tag.endswith("svg")
    assert [float(row["cosine"]) for row in neighbours] == sorted(
        (float(row["cosine"]) for row in neighbours), reverse=True
    )


def test_histograms_of_two_compared_runs_share_a_scale_and_legends_fit_a_phone(server, open_page):
    page = open_page(width=390, height=844)
    page.goto(f"{server.url}/look_inside?run=gallery-layers&view=Health&with=gallery-shakespeare")
    legends = "legend ? margin.t - legend._height : 22"
    wait_until(
        page,
        f"""() => {{
      const drawn = [...document.querySelectorAll(".moving-chart")].flatMap(({{ _fullLayout }}) => _fullLayout ?? []);
      return drawn.length === 12 && drawn.every(({{ margin, legend }}) => ({legends}) >= 20);
    }}""",
    )
    same = """name => {
      const [one, other] = document.querySelectorAll(`[class*=st-key-health_${name}] .moving-chart`);
      return one.layout.xaxis.range[1] === other.layout.xaxis.range[1] && one.layout.xaxis.range[1];
    }"""
    for name in ("activations", "gradients"):
        assert page.evaluate(same, name)
    before = page.evaluate(same, "activations")
    page.locator(".st-key-time_step_beside input[type=range]").press("Home")
    wait_until(page, f"before => ![false, before].includes(({same})('activations'))", arg=before)


def test_ablating_a_head_changes_loss_and_text_until_it_is_restored(page, server, trained_run):
    page.goto(f"{server.url}/look_inside?run={trained_run.id}&view=Surgery")
    whole, cut = page.locator(".st-key-card_whole"), page.locator(".st-key-card_cut")
    expect(cut).to_contain_text("Select parts to see")
    expect(page.locator("[data-testid=stProgress]")).to_have_count(0)  # the ranking is computed
    at_rest(page)
    expect(page.locator(".st-key-ablated_heads").get_by_role("button", name="head 1.1")).to_have_count(1)
    loss = whole.locator("[data-testid=stMetricValue]").inner_text()
    page.locator(".st-key-ablated_heads").get_by_role("button", name="head 1.1").click()
    expect(cut).to_contain_text("Without head 1.1")
    expect(cut.locator("[data-testid=stMetricDelta]")).to_be_visible()
    expect(cut.locator("[data-testid=stMetricValue]")).not_to_have_text(loss)
    assert whole.locator("[data-testid=stMetricValue]").inner_text() == loss
    expect(cut.locator("[data-testid=stCode]")).not_to_have_text(whole.locator("[data-testid=stCode]").inner_text())
    page.locator(".st-key-restore_all button").click()
    expect(cut).to_contain_text("Select parts to see")


def test_one_press_of_back_leaves_a_page(page, server):
    links, title = page.locator(".stSidebar"), page.locator("h1").first
    page.goto(server.url)
    expect(title).to_have_text("Watch a language model learn")
    for name, shown in (("Look inside", ".st-key-inspect_view"), ("Play", ".st-key-play_number")):
        links.get_by_role("link", name=name).click()
        expect(page.locator(shown)).to_be_visible()
        at_rest(page)
        page.go_back()
        expect(title).to_have_text("Watch a language model learn")
        expect(page).to_have_url(f"{server.url}/")
    for typed in ("look_inside", "generate", "look_inside?view=Embeddings"):
        page.goto(f"{server.url}/{typed}")
        expect(page).to_have_url(re.compile("run="))
        page.go_back()
        expect(title).to_have_text("Watch a language model learn")
    links.get_by_role("link", name="Look inside").click()
    views = page.locator(".st-key-inspect_view")
    for name in ("Embeddings", "Attention"):
        views.get_by_role("radio", name=name).click()
        expect(page).to_have_url(re.compile(f"view={name}"))
    page.go_back()
    expect(views.get_by_role("radio", name="Embeddings")).to_be_checked()
