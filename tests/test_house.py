"""Imports follow the layers, core imports no UI library, files stay short, and no user's text can become code."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
FLOORS = [  # from the bottom up; a module may import its own layer and those below
    {
        "core.errors",
        "core.settings",
        "core.config",
        "core.model_config",
        "core.sampling_config",
        "core.live_settings",
        "core.presets",
        "core.paths",
        "core.palette",
        "core.atomic_io",
        "core.fast.threads",
        "core.formatting",
        "core.trash",
        "core.class_records",
        "core.classroom",
    },
    {"core.text", "core.model"},
    {"core.fast", "core.training", "core.sampling", "core.interpretability", "core.terminal"},
    {"core.lessons"},
    {"core.import_export"},
    {"core.runs"},
    {"core.sweeps"},
    {"core.__main__", "core.cli"},
    {"explorer.i18n"},
    {"explorer.charts"},
    {"explorer.components"},
    {"explorer.streaming", "explorer.services"},
    {"explorer.widgets"},
    {
        f"explorer.{name}"
        for name in ["classroom", "data", "generate", "home", "learn", "look_inside", "play", "runs", "sweeps", "train"]
    },
    {"explorer.web", "explorer.navigation", "explorer.app", "explorer.__main__"},
    {"pages"},
]
SOURCES = sorted(path for room in ("core", "explorer", "pages") for path in (ROOT / room).rglob("*.py"))
CORE = [path for path in SOURCES if path.is_relative_to(ROOT / "core")]


def floor_of(module: str) -> int | None:
    for height, names in enumerate(FLOORS):
        if any(module == name or module.startswith(name + ".") for name in names):
            return height
    return None


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


class Source(NamedTuple):
    """What the tests below look for in a source file."""

    imports: set[str]
    identifiers: set[str]  # names given to values, functions, classes and arguments
    public_names: list[str]  # of functions and classes
    long_functions: list[str]


@cache
def read(path: Path) -> Source:
    """Return the facts of a source file, which is parsed once for all tests."""
    tree = ast.parse(path.read_text("utf-8"))
    functions, classes = ast.FunctionDef | ast.AsyncFunctionDef, ast.ClassDef
    source = Source(set(), set(), [], [])
    source.public_names.extend(n.name for n in tree.body if isinstance(n, functions | classes) and n.name[0] != "_")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            source.imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; write the whole name"
            source.imports.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, functions | classes):
            source.identifiers.add(node.name)
            if isinstance(node, functions) and node.end_lineno - node.lineno >= MAX_FUNCTION_LINES:
                source.long_functions.append(f"{_name(path)}:{node.name}")
        elif isinstance(node, ast.arg):
            source.identifiers.add(node.arg)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            source.identifiers.add(node.id if isinstance(node, ast.Name) else node.attr)
    return source


def test_modules_import_only_their_own_layer_and_those_below():
    wrong = []
    for path in SOURCES:
        module = module_of(path)
        own = 0 if module in ("core", "explorer") else floor_of(module)
        assert own is not None, f"{path} stands on no floor: give it one in FLOORS"
        wrong += [f"{module}: {imported}" for imported in read(path).imports if (floor_of(imported) or 0) > own]
    assert not wrong, "these import what stands above them"


def test_core_imports_no_ui_library():
    screens = {"streamlit", "plotly", "explorer", "pages"}
    assert not [path for path in CORE if {name.split(".")[0] for name in read(path).imports} & screens]


def test_translations_and_charts_import_no_streamlit():
    folders = (ROOT / "explorer" / "i18n", ROOT / "explorer" / "charts")
    below = [path for path in SOURCES if any(path.is_relative_to(folder) for folder in folders)]
    below.append(ROOT / "explorer" / "__init__.py")
    assert len(below) > 10  # what they import of ours lies on their own floors or in core
    assert not [path for path in below if "streamlit" in {name.split(".")[0] for name in read(path).imports}]


def test_no_source_uses_calls_that_could_run_untrusted_code():
    doors = re.compile(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")
    for path in (ROOT / "assets").rglob("*.js"):
        assert not doors.search(path.read_text("utf-8")), path
    doors = re.compile(
        r"unsafe_allow_html=True|pickle\.load|weights_only=False|shell=True|torch\.load\((?!.*weights_only=True)"
    )
    for path in SOURCES:
        assert not doors.search(path.read_text("utf-8")), path


def test_core_reads_no_assets_of_the_app_but_the_gallery():
    reading = {module_of(path) for path in CORE if re.search(r"[\"'/]assets[\"'/]", path.read_text("utf-8"))}
    assert reading <= {"core.paths"}


MAX_FILES, MAX_LINES, MAX_FUNCTION_LINES = 20, 400, 60
TESTED = sorted((ROOT / "tests").rglob("*.py"))
CROWDED_FOLDERS = {"tests/explorer", "tests/core/runs", "tests/pages"}  # the tests of a folder are in one folder
# One concept: computed in core, drawn in charts, shown on a page.
REPEATED_NAMES = {"bigram.py"}


def test_folders_files_and_functions_are_short():
    folders = {path.parent for path in SOURCES + TESTED}
    crowded = {_name(folder) for folder in folders if len([*folder.glob("*.*")]) > MAX_FILES}
    assert crowded == CROWDED_FOLDERS
    assert not [path for path in SOURCES + TESTED if path.read_text("utf-8").count("\n") > MAX_LINES]
    assert not [name for path in SOURCES for name in read(path).long_functions]


# Names that each module of a group defines: panels of Look inside, groups of commands, programs.
ENTRIES = {"draw", "add_to", "main"}


def test_a_public_name_is_defined_once():
    places: dict[str, list[str]] = {}
    for path in SOURCES:
        if path.parent.name == "templates":  # a separate program, for readers
            continue
        for name in read(path).public_names:
            places.setdefault(name, []).append(_name(path))
    repeated = {name: paths for name, paths in places.items() if len(paths) > 1}
    assert repeated.keys() == ENTRIES, {name: repeated[name] for name in repeated.keys() - ENTRIES}


def test_a_file_name_occurs_at_most_twice():
    counts = Counter(path.name for path in SOURCES if not path.name.startswith("__"))
    assert {name for name, count in counts.items() if count > 2} == REPEATED_NAMES


# Words that no identifier contains, because the field has its own terms.
# fmt: off
WORDS = {
    "dice", "roll", "turn", "turned", "knob", "closeup", "closely", "births", "born", "room", "spare", "crew",
    "mailbox", "journal", "life", "deaths", "settle", "kept", "told", "found", "asked", "beside", "given", "seen",
    "twins", "healthy", "broken", "spoil", "walks", "brief", "attending", "seeing", "choosing", "surprise",
    "favourite", "copying", "recites", "surgery", "moment", "spaces", "foreign", "interop", "later", "feeds",
    "pieces",
}
# fmt: on


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def words_used(path: Path) -> set[str]:
    """Return the words of WORDS that the identifiers of a file contain, between underscores or capitals."""
    snake = [re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower() for name in read(path).identifiers]
    return {part for name in snake for part in name.split("_")} & WORDS


def test_identifiers_contain_no_banned_words():
    used = {_name(path): words for path in SOURCES if (words := words_used(path))}
    assert not used, "use a term of the field instead"
