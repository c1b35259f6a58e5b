"""All sentences of the app are marked for translation and shown in the chosen language."""

import ast
import re
import shutil
from collections import defaultdict
from pathlib import Path

import pytest
from babel.messages import Catalog
from babel.messages.mofile import write_mo
from streamlit.testing.v1 import AppTest

from core.config import RunConfig
from core.lessons import lesson_text
from core.runs.weights import steps_with_weights
from core.sampling_config import GenerationConfig
from core.settings import fields_of
from explorer.components.modules import COMPONENTS, sentences_of
from explorer.i18n import language as i18n
from explorer.i18n.language import _, in_language, ngettext, plural_forms, plural_rule
from explorer.look_inside.frames import FrameRequest, make_frame
from explorer.look_inside.health_cards import CARDS as HEALTH_CARDS
from explorer.look_inside.time_machine_views import VIEWS
from explorer.widgets.address import NAVIGATION, ROOT
from explorer.widgets.layout import literal
from tests.words import TEMPLATE, collect, sentences_in, update, written


def catalog_of(locale: Path, name: str, translate) -> None:
    """Write the compiled catalog of a language that translates each form of a sentence."""
    catalog = Catalog(locale=name)  # sets the number of plural forms
    for message in collect():
        forms = message.id if message.pluralizable else (message.id,)
        if message.id:
            catalog.add(message.id, tuple(map(translate, forms)) if message.pluralizable else translate(forms[0]))
    (locale / name / "LC_MESSAGES").mkdir(parents=True)
    with (locale / name / "LC_MESSAGES" / "messages.mo").open("wb") as file:
        write_mo(file, catalog)


@pytest.fixture
def new_languages(tmp_path, monkeypatch):
    """Return a temporary folder for languages, with `lessons` and `locale`."""
    shutil.copytree(lesson_text._FOLDER, tmp_path / "lessons")
    monkeypatch.setattr(lesson_text, "_FOLDER", tmp_path / "lessons")
    monkeypatch.setattr(i18n, "LOCALE", tmp_path / "locale")
    caches = (lesson_text._read, i18n._catalog)
    for cache in caches:
        cache.cache_clear()
    yield tmp_path
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def backwards(new_languages):
    """Add a second language that puts every sentence in brackets."""
    (new_languages / "lessons" / "xx").mkdir()
    (new_languages / "lessons" / "xx" / "words.md").write_text("# Words\n\n## language\nXish\n")
    catalog_of(new_languages / "locale", "xx", lambda words: f"⟦{words}⟧")


def test_the_translation_template_is_up_to_date():
    assert TEMPLATE.read_bytes() == written(collect()), "run `make words`"


def test_marked_sentences_are_extracted_with_their_translator_comments():
    source = '# Translators: the verb\n_("a {b}", b=1)\nTABLE = {1: N_("c" "d")}\n_(TABLE[1])\n'
    assert sentences_in(source + 'ngettext("one", "{count} of them", 2)\n', ".py") == [
        ("a {b}", ["Translators: the verb"]),
        ("cd", []),
        (("one", "{count} of them"), []),
    ]
    source = '_("one"); _("two \\"quoted\\""); say_("three"); _(name); `${ngettext("1", "{count}", n)}`'
    assert [sentence for sentence, _ in sentences_in(source, ".js")] == ["one", 'two "quoted"', ("1", "{count}")]
    assert sentences_of(source) == (["one", 'two "quoted"'], [("1", "{count}")])


def test_every_sentence_marked_in_javascript_is_sent_to_the_browser():
    for path in COMPONENTS.rglob("*.js"):
        plain, counted = sentences_of(path.read_text("utf-8"))
        assert {*plain, *counted} == {sentence for sentence, _ in sentences_in(path.read_text("utf-8"), ".js")}, path


def test_updating_a_catalog_keeps_its_translations_and_adds_new_sentences(tmp_path):
    po = tmp_path / "de" / "LC_MESSAGES" / "messages.po"
    po.parent.mkdir(parents=True)
    po.write_text('msgid "Train"\nmsgstr "Trainieren"\n\nmsgid "Gone"\nmsgstr "Weg"\n', "utf-8")
    update(po, collect())
    first = po.read_bytes()
    assert 'msgstr "Trainieren"' in first.decode() and "Gone" not in first.decode()
    assert "{count} cores" in first.decode() and po.with_suffix(".mo").exists()
    update(po, collect())
    assert po.read_bytes() == first


def test_outside_a_session_sentences_are_english():
    assert _("{count} steps", count="{x}") == "{x} steps"
    assert [ngettext("{count} core", "{count} cores", count) for count in (0, 1, 2000)] == [
        *("0 cores", "1 core", "2,000 cores"),
    ]


def test_wrong_or_missing_translations_fall_back_to_english(new_languages):
    (new_languages / "lessons" / "de").mkdir()
    words = {"{count} steps": "{zahl} Schritte", "Train": "Trainieren"}
    catalog_of(new_languages / "locale", "de", lambda english: words.get(english, ""))
    with in_language("de"):
        assert [_("{count} steps", count=3), _("Train"), _("Stop")] == ["3 steps", "Trainieren", "Stop"]
        assert ngettext("{count} core", "{count} cores", 1) == "1 core"


# A count of one of these needs a plural form. A rate ("tokens/s") is not a count.
THINGS = re.compile(
    r"\{(?!role\})\w+\}\**(?: (?:different|other|next|training|largest|or more))? "
    r"(?:activations|characters|days|examples|heads|keys|layers|letters|lines|logits|neurons|numbers|parameters|"
    r"positions|products|runs|sequences|spans|steps|texts|threads|times(?! the)|tokens|windows|words|years)\b(?!/)"
)
UNCOUNTED = {
    "after {count} tokens: {loss}": "plotly fills it in for each point",
    "Mean distance: {distance} tokens.": "a mean is no whole number",
    "Mean distance: {distance} tokens back.": "likewise",
    "{name}: {loss}, as uncertain as a uniform choice among {choices} letters": "a perplexity is no whole number",
}


def test_every_counted_noun_goes_through_ngettext():
    plain = [
        sentence
        for path in [*PAGES, *COMPONENTS.rglob("*.js")]
        for sentence, _comments in sentences_in(path.read_text("utf-8"), path.suffix)
        if isinstance(sentence, str)
    ]
    assert {sentence for sentence in plain if THINGS.search(sentence)} == UNCOUNTED.keys()


def test_the_pattern_for_counted_nouns_finds_counts_and_nothing_else():
    found = [
        "{count} tokens",
        "**{count}** parameters, {x}",
        "{a} of {b} other heads",
        "at step {s}, {n} windows of it",
    ]
    assert all(map(THINGS.search, found))
    others = ["{rate} tokens/s", "as {role} heads", "to {token}", "tokens {a} to tokens {b}", "{value} times the gate"]
    assert not any(map(THINGS.search, others))


def test_a_count_takes_the_plural_form_of_the_language(new_languages):
    (new_languages / "lessons" / "fr").mkdir()
    catalog_of(new_languages / "locale", "fr", lambda english: f"{english} (fr)")
    with in_language("fr"):
        forms = [ngettext("{count} core", "{count} cores", count) for count in (0, 1, 2)]
    assert forms == ["0 core (fr)", "1 core (fr)", "2 cores (fr)"]
    assert plural_rule("fr")[:3] == [0, 0, 1] and plural_rule("en")[:3] == [1, 0, 1]
    assert plural_forms("{count} core", "{count} cores", "fr") == ["{count} core (fr)", "{count} cores (fr)"]


def test_a_language_from_the_address_is_kept_until_another_is_chosen(backwards, explorer_home):
    app = AppTest.from_file(str(NAVIGATION), default_timeout=60)
    app.query_params["language"] = "xx"
    app.run()
    assert not app.exception
    assert "⟦Build⟧" in [caption.value for caption in app.sidebar.caption]
    del app.query_params["language"]
    app.run()
    assert "⟦Build⟧" in [caption.value for caption in app.sidebar.caption]
    choice = next(one for one in app.sidebar.get("button_group") if one.key == "language_choice")
    choice.set_value("en").run()
    assert "Build" in [caption.value for caption in app.sidebar.caption]


def test_a_frame_of_the_time_machine_is_in_the_requested_language(backwards, finished_run):
    step = steps_with_weights(finished_run)[-1]
    assert make_frame(finished_run, FrameRequest(step, "To be", language="xx"))["next"]["words"].startswith("⟦")
    assert not make_frame(finished_run, FrameRequest(step, "To be"))["next"]["words"].startswith("⟦")


PAGES = [*sorted((ROOT / "explorer").rglob("*.py")), *sorted((ROOT / "pages").glob("*.py"))]
SHELL = ("__main__.py", "server.py", "routes.py")  # their output is read in a terminal or by programs
# Functions that show their first two arguments, and the keyword arguments in ALSO, to people.
SHOWS = {
    *("title", "header", "caption", "markdown", "metric", "badge", "info", "success", "warning", "error", "toast"),
    *("button", "download_button", "link_button", "page_link", "form_submit_button", "popover", "expander", "tabs"),
    *("selectbox", "segmented_control", "radio", "toggle", "checkbox", "slider", "select_slider", "file_uploader"),
    *("text_input", "text_area", "number_input", "progress", "card", "page_header", "empty_state"),
}
ALSO = {"help", "placeholder", "text", "caption", "note", "more"}
# Keyword arguments that plotly writes into a chart, in any call.
CHART = {"title", "title_text", "text", "ticktext", "hovertemplate", "hover", "xaxis_title", "yaxis_title"}


@pytest.mark.parametrize("path", [path for path in PAGES if path.name not in SHELL], ids=lambda path: path.stem)
def test_all_shown_words_are_marked_for_translation(path):
    assert not unsaid(path.read_text("utf-8"))


def test_words_not_marked_for_translation_are_found():
    assert unsaid('st.caption(f"{count} steps")') == ["1:  steps"]
    assert unsaid('st.button(say("Go"), help="Goes." if far else "")') == ["1: Goes."]
    assert unsaid("figure.update_xaxes(title='step', ticktext=texts)") == ["1: step"]
    assert not unsaid("figure.update_traces(hovertemplate='%{x:.2f}<extra></extra>', name='loss-curve')")
    assert not unsaid("st.markdown(f'**{say(words)}** :material/check:'); _log.warning('too slow')")


MAX_WORDS = 30  # of a message, however many sentences it has, and of the whole help of a control or a card


def test_messages_and_helps_are_short():
    forms = [form for message in collect() for form in (message.id if message.pluralizable else [message.id])]
    helps = [setting.help for config in (RunConfig, GenerationConfig) for _path, setting in fields_of(config)]
    helps += [*(view.help for view in VIEWS), *(more for _title, _note, more in HEALTH_CARDS.values())]
    pages = [path for path in PAGES if path.name not in SHELL]
    helps += [words for path in pages for words in helps_of(path.read_text("utf-8"))]
    assert len(helps) > 100 and not [words for words in [*forms, *helps] if count_words(words) > MAX_WORDS]


@pytest.mark.parametrize("path", sorted((ROOT / "core").rglob("*.py")), ids=lambda path: path.stem)
def test_error_messages_are_short(path):
    raised = [node.exc for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Raise)]
    words = [text for call in raised if isinstance(call, ast.Call) for each in call.args for text in wholes(each, {})]
    assert not [text for text in words if count_words(text) > MAX_WORDS]


def test_a_help_of_several_sentences_is_counted_as_a_whole():
    source = 'ONE = N_("a b")\nmore = f"{_(ONE)} {_(\'c\')}"\ncard(title, more=more)\n'
    assert helps_of(source) == ["a b c"]
    assert helps_of("def note():\n    return f\"{_('a')} {_('b c') if x else _('b')}\"\ncard(more=note())") == ["a b c"]
    assert helps_of("more = _('a')\ncard(more=more)\nmore = _('b')\ncard(more=more)") == ["a", "b"] * 2


def count_words(text: str) -> int:
    return len(text.split())


def helps_of(source: str) -> list[str]:
    """Return the texts that a module passes as `help` or `more`, directly or through one of its names or functions."""
    nodes, values = list(ast.walk(ast.parse(source))), defaultdict(list)
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            values[node.targets[0].id].append(node.value)
        elif isinstance(node, ast.FunctionDef):
            values[node.name] += [each.value for each in ast.walk(node) if isinstance(each, ast.Return) and each.value]
    helps = [node.value for node in nodes if isinstance(node, ast.keyword) and node.arg in ("help", "more")]
    for table in (node for node in nodes if isinstance(node, ast.Dict)):
        entries = zip(table.keys, table.values, strict=True)
        helps += [value for key, value in entries if isinstance(key, ast.Constant) and key.value == "help"]
    return [words for value in helps for words in wholes(value, values)]


def wholes(value: ast.AST, values: dict[str, list[ast.expr]]) -> list[str]:
    """Return the texts that an expression can evaluate to; for one joined from parts, only the longest."""
    if isinstance(value, ast.Constant):
        return [value.value] if isinstance(value.value, str) else []
    if isinstance(value, ast.Name):
        others = {name: given for name, given in values.items() if name != value.id}
        return [words for given in values.get(value.id, ()) for words in wholes(given, others)]
    parts = [wholes(child, values) for child in ast.iter_child_nodes(value)]
    if isinstance(value, ast.JoinedStr | ast.BinOp):
        return ["".join(max(part, key=count_words) for part in parts if part)]
    return [words for part in parts for words in part]


def test_words_shown_by_javascript_are_marked_for_translation():
    past = re.compile(r'element\("\w+", "[^"]*", "[^"]*[a-z]{2}|(?:textContent|title|ariaLabel) = "[^"]*[a-z]{2}')
    for path in sorted((ROOT / "assets").rglob("*.js")):
        assert not past.findall(path.read_text("utf-8")), path.name


def unsaid(source: str) -> list[str]:
    """Return the English words that a module shows without marking them for translation, with line numbers."""
    found = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        receiver = getattr(call.func.value, "id", "").lower() if isinstance(call.func, ast.Attribute) else ""
        # Logs are for maintainers, and `state.markdown` takes the name of a part of a lesson's words.
        if name in SHOWS and not receiver.endswith("log") and receiver != "state":
            shown = [*call.args[:2], *(word.value for word in call.keywords if word.arg in ALSO)]
        else:
            shown = [word.value for word in call.keywords if word.arg in CHART]
        found += [f"{call.lineno}: {words}" for given in shown for words in literals(given) if speaks(words)]
    return found


def literals(given: ast.expr) -> list[str]:
    if isinstance(given, ast.IfExp):
        return literals(given.body) + literals(given.orelse)
    pieces = given.values if isinstance(given, ast.JoinedStr) else [given]
    return [piece.value for piece in pieces if isinstance(piece, ast.Constant) and isinstance(piece.value, str)]


def speaks(words: str) -> bool:
    """Return whether a text contains words and not only an icon, a color or an address."""
    return bool(re.search(r"[A-Za-z]{2}", re.sub(r"%\{[^}]*\}|<[^>]*>|:\w+[-\w/]*:?|\S*/\S*|-badge", "", words)))


@pytest.mark.parametrize("page", ["home", "data", "train", "runs", "generate", "look_inside"])
def test_no_english_sentence_is_left_on_a_page(page, backwards, finished_run):
    app = AppTest.from_file(str(NAVIGATION), default_timeout=60)
    app.session_state["language"] = "xx"
    app.query_params["run"] = finished_run.id
    app.switch_page(str(ROOT / "pages" / f"{page}.py")).run()
    assert not app.exception
    data = ("Two lines of Hamlet", finished_run.record().hardware)  # of the run, as it was written down
    kinds = ("title", "header", "markdown", "caption", "info", "warning", "success", "button", "selectbox", "slider")
    texts = [text for kind in kinds for one in app.get(kind) for text in (getattr(one, "label", ""), one.value)]
    ours = [without(data, text) for text in texts if isinstance(text, str)]
    left = [outside(text) for text in ours]
    assert any("⟦" in text for text in texts if isinstance(text, str))
    assert not [text for text in left if re.search(r"[a-z]{2,} [a-z]{2,} [a-z]{2,}", text)]


def without(data: tuple[str, ...], text: str) -> str:
    for words in data:
        text = text.replace(words, "").replace(literal(words), "")
    return text


def outside(text: str) -> str:
    """Return the text outside all brackets, nested ones included."""
    shorter = re.sub(r"⟦[^⟦⟧]*⟧", "", text)
    return text if shorter == text else outside(shorter)
