"""A link to something missing is reported, and the address stays until the user chooses how to continue."""

import json

import pytest
from streamlit.testing.v1 import AppTest

from explorer.widgets.address import NAVIGATION, page_file

GONE = "20200101-000000-goneawaygone"
ABSENT = [  # page, query of the link, message
    ("train", {"run": GONE}, "There is no run with the id"),
    ("train", {"preset": "gpt-tinny"}, "There is no preset called 'gpt-tinny'"),
    ("train", {"preset": "gpt-tiny", "set": "model.n_layer:600"}, "1 to 48"),
    ("train", {"set": "model.wings:2"}, "no setting called 'model.wings'"),
    ("train", {"set": "data.corpus:text-gone"}, "the text 'text-gone', which is not on"),
    ("train", {"text": "text-gone"}, "the text 'text-gone', which is not on"),
    ("train", {"fork": GONE}, "There is no run with the id"),
    ("data", {"preset": "gpt-tinny"}, "There is no preset called 'gpt-tinny'"),
    ("data", {"set": "data.corpus:text-gone"}, "the text 'text-gone', which is not on"),
    ("data", {"text": "text-gone"}, "the text 'text-gone', which is not on"),
    ("generate", {"run": GONE}, "There is no run with the id"),
    ("look_inside", {"run": GONE}, "There is no run with the id"),
    ("look_inside", {"run": "RUN", "view": "Atention"}, "has no view 'Atention'"),
    ("look_inside", {"run": "RUN", "step": "x"}, "step='x', which is not possible"),
    ("look_inside", {"run": "RUN", "with": GONE}, "There is no run with the id"),
    ("look_inside", {"run": "RUN", "with": "RUN", "with_step": "7777"}, "with_step='7777', which is not possible"),
    ("look_inside", {"run": "RUN", "head": "9.1"}, "This model has no head '9.1': here is head 1.1"),
    ("learn", {"lesson": "bigramm"}, "There is no lesson 'bigramm'"),
    ("learn", {"lesson": "bigram", "step": "tabel"}, "has no step 'tabel'"),
    ("learn", {"lesson": "glossary", "step": "tokken"}, "has no term 'tokken'"),
    ("learn", {"lesson": "bigram", "step": "text", "set": "text:text-gone"}, "the text 'text-gone', which is not on"),
    ("learn", {"lesson": "bigram", "step": "text", "set": "wings:2"}, "what this step does not have: 'wings'"),
    ("learn", {"lesson": "bigram", "step": "batch", "hide": "wings"}, "what this step does not have: 'wings'"),
    ("play", {"text": "text-gone"}, "the text 'text-gone', which is not on"),
    ("play", {"passage": "0"}, "passage='0', which is not possible"),
    ("play", {"letters": "17"}, "letters='17', which is not possible"),
]


def address_of(app: AppTest) -> dict[str, str]:
    return {name: value[-1] if isinstance(value, list) else value for name, value in app.query_params.items()}


@pytest.mark.parametrize(("page", "query", "sentence"), ABSENT, ids=lambda value: str(value)[:60])
def test_a_link_to_something_missing_is_reported_and_the_address_stays(finished_run, page, query, sentence):
    query = {name: finished_run.id if value == "RUN" else value for name, value in query.items()}
    app = AppTest.from_file(page_file(page), default_timeout=60)
    app.query_params.update(query)
    app.run()
    assert not app.exception
    assert sentence in "\n".join(error.value for error in app.error).replace("\\", "")
    assert address_of(app) == query
    if "take_another" in [button.key for button in app.button]:
        app.button(key="take_another").click().run()
        assert not app.exception and not app.error


@pytest.mark.parametrize("page", ["home", "data", "play", "runs", "learn"])
def test_pages_without_a_run_report_the_missing_run_of_the_link_in_the_sidebar(finished_run, page):
    app = AppTest.from_file(NAVIGATION, default_timeout=60)
    app.query_params.update({"run": GONE, "language": "tlh"})
    app.run()
    app.switch_page(f"../pages/{page}.py").run()
    captions = "\n".join(caption.value for caption in app.sidebar.caption).replace("\\", "")
    assert not app.exception and "There is no run with the id" in captions and "the language 'tlh'" in captions


@pytest.mark.parametrize("page", ["train", "data"])
def test_a_link_to_a_text_selects_it_on_train_and_data(finished_run, page):
    name = finished_run.record().config.data.corpus
    app = AppTest.from_file(page_file(page), default_timeout=60)
    app.query_params["text"] = name
    app.run()
    assert not app.exception and not app.error
    assert app.selectbox(key="corpus").value == name and address_of(app) == {"text": name}


def test_an_address_without_a_run_gets_the_run_without_a_new_history_entry(finished_run):
    app = AppTest.from_file(page_file("generate"), default_timeout=60).run()
    data = [json.loads(component.proto.json or "{}") for component in app.get("bidi_component")]
    assert [f"run={finished_run.id}"] == [one["query"] for one in data if "query" in one] and not app.query_params


def test_a_chosen_head_is_in_the_address_and_a_link_opens_it(finished_run):
    app = AppTest.from_file(page_file("look_inside"), default_timeout=60)
    app.query_params.update({"run": finished_run.id, "head": "2.1"})
    app.run()
    assert app.selectbox(key="inspect_layer").value == 1 and app.selectbox(key="inspect_head").value == 0
    app.selectbox(key="inspect_head").set_value(1).run()
    assert not app.exception and address_of(app)["head"] == "2.2"
    assert (app.selectbox(key="inspect_layer").value, app.selectbox(key="inspect_head").value) == (1, 1)


def test_a_fork_step_that_is_not_a_number_is_reported(finished_run):
    app = AppTest.from_file(NAVIGATION, default_timeout=60)
    app.query_params.update({"fork": finished_run.id, "step": "x"})
    app.switch_page("../pages/train.py").run()
    assert not app.exception and "step='x', which is not possible" in app.error[0].value.replace("\\", "")


def test_a_request_with_the_old_address_does_not_undo_a_choice(finished_run):
    app = AppTest.from_file(NAVIGATION, default_timeout=60).switch_page("../pages/look_inside.py")
    app.query_params["run"] = finished_run.id
    app.run()
    before = dict(app.query_params)
    app.segmented_control(key="inspect_view").set_value("Predictions").run()
    assert app.query_params["view"] == "Predictions"
    app.query_params.clear()
    app.query_params.update(before)  # like a poll of a job that was sent before the click
    app.run()
    assert app.query_params["view"] == app.segmented_control(key="inspect_view").value == "Predictions"


def test_a_second_choice_with_the_old_address_keeps_the_first(finished_run):
    app = AppTest.from_file(NAVIGATION, default_timeout=60).switch_page("../pages/look_inside.py")
    app.query_params["run"] = finished_run.id
    app.run()
    before = dict(app.query_params)
    app.segmented_control(key="inspect_view").set_value("Predictions").run()
    for prompt in ("to be", "or not"):
        app.query_params.clear()
        app.query_params.update(before)
        app.text_input(key="inspect_prompt").set_value(prompt).run()
        assert (app.query_params["view"], app.query_params["prompt"]) == ("Predictions", prompt)
