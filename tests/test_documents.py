"""The documents: every path that they name exists, and the benchmarks write their tables into one of them."""

import re
from pathlib import Path

import pytest

from tests.benchmarks.report import replace_section

ROOT = Path(__file__).parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
FOLDERS = ("core", "explorer", "pages", "assets", "tests", "docs")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_that_a_document_names_exists(document):
    text = document.read_text("utf-8")
    paths = set(re.findall(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/[\w./-]*\w", text))
    paths |= {target.partition("#")[0] for target in re.findall(r"\]\((?!https?:)([^)#]+)", text)}
    missing = [path for path in paths if not (ROOT / path).exists() and not (document.parent / path).exists()]
    assert not missing, f"{document.name} names paths that do not exist: {missing}"


def test_a_benchmark_replaces_its_table_and_leaves_the_note():
    document = "# Benchmarks\n\n## Growth\n\n| old |\n|---|\n\n> A note\n> on it.\n\n## Memory\n\n| 1 |\n"
    assert replace_section(document, "Growth", "| new |\n") == (
        "# Benchmarks\n\n## Growth\n\n| new |\n\n> A note\n> on it.\n\n## Memory\n\n| 1 |\n"
    )
    assert replace_section(document, "Quality", "| q |\n").endswith("| 1 |\n\n## Quality\n\n| q |\n")
