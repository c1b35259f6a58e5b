"""Generate: without a run, during training and afterwards."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from streamlit.testing.v1 import AppTest

from core.sampling_config import GenerationConfig
from core.settings import fields_of
from core.text.tasks import TASKS, problems
from explorer.widgets.address import ROOT
from explorer.widgets.forms import widget_key
from tests.explorer.streaming.test_streams import events_of


@pytest.fixture
def app(explorer_home) -> AppTest:
    return AppTest.from_file(ROOT / "pages" / "generate.py", default_timeout=60)


def written(app: AppTest) -> dict:
    data = [json.loads(component.proto.json) for component in app.get("bidi_component")]
    (component,) = [one for one in data if "url" in one]
    return component


def tokens_behind(component: dict, client) -> list[dict]:
    """Return the tokens of the stream that the component opens."""
    return [data for name, data, _ in events_of(client.get(f"/{component['url']}").text) if name == "token"]


def said(app: AppTest) -> str:
    return "\n".join(str(element.value) for kind in ("markdown", "caption", "info") for element in app.get(kind))


def test_without_a_run_a_gallery_model_is_selected(app):
    app.run()
    assert not app.exception
    assert app.selectbox(key="inspect_run").value == "gallery-shakespeare" and "This model comes with the app." in said(
        app
    )


def test_the_page_has_a_widget_for_every_setting_and_one_primary_button(app, finished_run):
    app.run()
    assert not app.exception
    keys = {
        widget.key
        for kind in (
            "slider",
            "select_slider",
            "number_input",
            "selectbox",
            "segmented_control",
            "button_group",
            "radio",
        )
        for widget in app.get(kind)
    }
    assert {widget_key(path) for path, _ in fields_of(GenerationConfig)} <= keys
    assert [button.key for button in app.button if button.proto.type == "primary"] == ["generate_go"]
    assert "The same seed" in said(app)


def test_a_task_model_is_offered_questions_that_it_never_trained_on(app, client):
    app.query_params["run"] = "gallery-induction"
    app.run()
    questions = [question + " " for question, _answer in problems(TASKS["repeats"])[-3:]]
    assert app.text_area(key="generate_prompt").value == questions[0]
    app.button(key="question_2").click().run()
    assert not app.exception and app.text_area(key="generate_prompt").value == questions[2]
    parameters = parse_qs(urlsplit(written(app)["url"]).query)
    assert (parameters["prompt"], parameters["temperature"]) == ([questions[2]], ["0.0"])
    assert parameters["max_new_tokens"] == [str(TASKS["repeats"].longest)]
    answer = "".join(token["text"] for token in tokens_behind(written(app), client))
    assert answer == f"{problems(TASKS['repeats'])[-1][1]}\n"  # and nothing after it
    app.select_slider(key="set-max_new_tokens").set_value(20).run()
    app.query_params["run"] = "gallery-shakespeare"  # trained on another text, with other prompts
    app.run()
    assert app.text_area(key="generate_prompt").value not in ("", *questions) and not app.info
    assert app.select_slider(key="set-max_new_tokens").value == 300
    app.query_params["run"] = "gallery-induction"
    app.run()
    assert not app.exception and app.select_slider(key="set-max_new_tokens").value == 20


def test_generate_opens_a_stream_with_the_prompt_and_settings(app, finished_run):
    app.run()
    app.text_area(key="generate_prompt").set_value("To be,\n& so?")
    app.slider(key="set-temperature").set_value(0.5)
    app.button(key="generate_go").click().run()
    assert not app.exception
    url = urlsplit(written(app)["url"])
    assert url.path == f"api/runs/{finished_run.id}/generate"
    assert parse_qs(url.query)["temperature"] == ["0.5"]
    assert parse_qs(url.query)["prompt"] == ["To be,\n so"], "what the model has never seen is left out"
    assert "U+0026" in said(app).replace("\\", "")


def test_the_same_seed_gives_the_same_text_and_a_rerun_starts_no_new_one(app, finished_run, client):
    app.run()
    app.select_slider(key="set-max_new_tokens").set_value(8)
    app.text_area(key="generate_prompt").set_value("To be")
    app.button(key="generate_go").click().run()
    assert not app.exception
    first = written(app)
    assert first["prompt"] == "To be" and first["total"] == 8 and first["tokens"] == []
    assert written(app.run()) == first
    app.button(key="generate_go").click().run()
    again = written(app)
    assert again["go"] != first["go"]
    texts = [tokens_behind(one, client) for one in (first, again)]
    assert texts[0] == texts[1] and len(texts[0]) == 8
    assert set(texts[0][0]) == {"text", "visible", "p", "sampled", "alternatives"}


def test_a_new_seed_gives_another_text_after_the_next_click(app, finished_run, client):
    app.run()
    app.select_slider(key="set-max_new_tokens").set_value(40)
    app.slider(key="set-temperature").set_value(2.0)
    app.button(key="generate_go").click().run()
    first, seed = written(app), app.number_input(key="set-seed").value
    app.button(key="new_seed").click().run()
    assert not app.exception
    assert app.number_input(key="set-seed").value != seed
    assert written(app) == first and "Generated before you changed" in said(app)
    app.button(key="generate_go").click().run()
    assert tokens_behind(written(app), client) != tokens_behind(first, client)


def test_samples_side_by_side_have_different_seeds(app, finished_run, client):
    app.run()
    app.select_slider(key="set-max_new_tokens").set_value(12)
    app.number_input(key="set-seed").set_value(7)
    app.segmented_control(key="generate_samples").set_value(4)
    app.button(key="generate_go").click().run()
    assert not app.exception
    components = [json.loads(component.proto.json) for component in app.get("bidi_component")]
    samples = [component for component in components if "url" in component]
    assert [parse_qs(urlsplit(sample["url"]).query)["seed"] for sample in samples] == [["7"], ["8"], ["9"], ["10"]]
    texts = ["".join(token["text"] for token in tokens_behind(sample, client)) for sample in samples]
    assert len(set(texts)) == 4
    app.segmented_control(key="generate_samples").set_value(1).run()
    assert "Generated before you changed" in said(app)


@pytest.mark.parametrize(
    ("chosen", "compared"), [(0.5, ["0.5", "0.8", "1.1", "1.4"]), (2.0, ["1.1", "1.4", "1.7", "2.0"])]
)
def test_samples_side_by_side_can_have_different_temperatures(app, finished_run, chosen, compared):
    app.run()
    app.slider(key="set-temperature").set_value(chosen)
    app.segmented_control(key="generate_samples").set_value(4).run()
    app.segmented_control(key="generate_varied").set_value("Temperature")
    app.button(key="generate_go").click().run()
    assert not app.exception
    components = [json.loads(component.proto.json) for component in app.get("bidi_component")]
    asked = [parse_qs(urlsplit(component["url"]).query) for component in components if "url" in component]
    assert [query["temperature"] for query in asked] == [[temperature] for temperature in compared]
    assert {query["seed"][0] for query in asked} == {str(app.number_input(key="set-seed").value)}


def test_text_is_generated_from_an_empty_prompt(app, finished_run, client):
    app.run()
    app.select_slider(key="set-max_new_tokens").set_value(1)
    app.text_area(key="generate_prompt").set_value("")
    app.button(key="generate_go").click().run()
    assert not app.exception and not app.error
    assert len(tokens_behind(written(app), client)) == 1


def test_a_run_in_training_can_generate(app, running_run, client):
    app.query_params["run"] = running_run.id
    app.run()
    assert not app.exception
    assert "now at step 10" in said(app)
    app.select_slider(key="set-max_new_tokens").set_value(2)
    app.button(key="generate_go").click().run()
    assert len(tokens_behind(written(app), client)) == 2


def test_a_damaged_run_is_reported_in_a_sentence(app, damaged_run):
    app.run()
    assert not app.exception
    assert "damaged" in app.error[0].value


def test_the_page_generates_on_entry_and_charts_the_effect_of_the_settings(app, finished_run, client):
    app.run()
    assert not app.exception and len(tokens_behind(written(app), client)) > 100
    bars = json.loads(app.get("plotly_chart")[0].proto.spec)["data"]
    model, sampled = (bar["y"] for bar in bars)
    assert sampled[0] > model[0]  # temperature 0.8 sharpens
    app.slider(key="set-top_k").set_value(1).run()
    bars = json.loads(app.get("plotly_chart")[0].proto.spec)["data"]
    assert [share > 0 for share in bars[1]["y"]] == [True] + [False] * (len(sampled) - 1)
    assert "1 token of" in said(app)
