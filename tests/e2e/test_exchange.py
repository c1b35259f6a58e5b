"""A model is exported for nanoGPT and transformers and imported as another run, in a real browser."""

import re
import zipfile

import pytest
from playwright.sync_api import expect

from core.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from core.runs.folder import RunFolder, list_runs
from core.runs.worker import train_run
from core.text.own_text import own_texts, save_text
from tests.core.text.test_bad_input import BAD
from tests.e2e.board import at_rest

pytestmark = pytest.mark.e2e

TEXT = "To be, or not to be: that is the question.\nWhether 'tis nobler in the mind to suffer\n" * 30


def test_a_model_is_exported_and_imported_again(server, open_page, tmp_path):
    for name in ("runs", "texts", "downloads"):
        (server.data_dir / name).mkdir(exist_ok=True)
    corpus = save_text(TEXT, "Two lines of Hamlet", server.data_dir)
    config = RunConfig(
        model=ModelConfig(n_layer=2, n_head=2, n_embd=16, block_size=16),
        data=DataConfig(corpus=corpus.name),
        train=TrainConfig(steps=2, batch_size=2, eval_windows=2, sample_length=4, device="cpu", precision="float32"),
    )
    run = RunFolder.create(server.data_dir, config, name="traveller")
    train_run(run, server.data_dir)

    page = open_page()
    page.goto(f"{server.url}/train?run={run.id}")
    page.get_by_role("button", name="Export").click()
    for label, file_name in (
        ("For nanoGPT (zip)", "traveller-nanogpt.zip"),
        ("For transformers (zip)", "traveller-transformers.zip"),
    ):
        link = page.get_by_role("link", name=label)
        response = page.request.get(f"{server.url}/{link.get_attribute('href').removeprefix(f'{server.url}/')}")
        assert response.ok and file_name in response.headers["content-disposition"]
        (tmp_path / file_name).write_bytes(response.body())
    assert "model.safetensors" in zipfile.ZipFile(tmp_path / "traveller-transformers.zip").namelist()

    page.goto(f"{server.url}/runs")
    page.get_by_role("button", name="Import a model").click()
    page.get_by_role("button", name="Import files").click()
    expect(page.get_by_text("Choose the files first")).to_be_visible()
    at_rest(page)
    page.locator("input[type=file]").set_input_files(tmp_path / "traveller-nanogpt.zip")
    expect(page.get_by_role("button", name="Remove traveller-nanogpt.zip")).to_be_visible()  # the name is shortened
    at_rest(page)
    page.locator(".st-key-import_corpus input").click()
    page.get_by_role("option", name="Two lines of Hamlet").click()
    page.locator(".st-key-import_name_0 input").fill("<b>back</b> again")
    page.locator(".st-key-import_name_0 input").press("Tab")
    page.get_by_role("button", name="Import files").click()
    page.wait_for_url(re.compile(r"/look_inside\?.*run="))
    expect(page.locator(".model-square").first).to_be_visible()
    back = list_runs(server.data_dir)[0]
    assert back.name == "<b>back</b> again" and back.id != run.id
    assert not list((server.data_dir / "downloads").iterdir())


def test_each_bad_upload_gets_one_error_and_a_good_upload_is_accepted_afterwards(server, open_page):
    page = open_page()
    page.goto(f"{server.url}/data")
    page.get_by_role("button", name="Use your own text").click()
    page.get_by_role("tab", name="Upload").click()
    problems, taken = page.locator(".stAlert:visible"), set(own_texts(server.data_dir))
    for number, what in enumerate(("a table without a column of text", "a zip bomb", "a pdf with a password")):
        name, content, sentence = BAD[what]
        data = content.encode() if isinstance(content, str) else content
        name = f"{number}{name}"
        at_rest(page)
        page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "", "buffer": data})
        expect(page.get_by_role("button", name=f"Remove {name}")).to_be_visible()
        page.get_by_role("button", name="Use this file").click()
        expect(problems).to_have_text([re.compile(sentence)])  # and the error of the last file is gone
    at_rest(page)
    page.locator("input[type=file]").set_input_files({"name": "hamlet.md", "mimeType": "", "buffer": TEXT.encode()})
    expect(problems).to_have_count(0)
    page.get_by_role("button", name="Use this file").click()
    expect(page.locator(".st-key-corpus input")).to_have_value("hamlet")
    assert {text.title for text in set(own_texts(server.data_dir)) - taken} == {"hamlet"}
