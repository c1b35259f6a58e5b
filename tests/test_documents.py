"""The documents name only existing paths, and the benchmarks write their tables into one of them."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from contextlib import closing
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.benchmarks import report
from tests.benchmarks.__main__ import main
from tests.benchmarks.report import replace_section
from tests.core.runs.conftest import wait_for

ROOT = Path(__file__).parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs/deploy").iterdir()]
FOLDERS = ("core", "explorer", "pages", "assets", "tests", "docs")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_that_a_document_names_exists(document):
    text = document.read_text("utf-8")
    paths = set(re.findall(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/[\w./-]*\w", text))
    paths |= {target.partition("#")[0] for target in re.findall(r"\]\((?!https?:)([^)#]+)", text)}
    missing = [path for path in paths if not (ROOT / path).exists() and not (document.parent / path).exists()]
    assert not missing, f"{document.name} names paths that do not exist: {missing}"


@pytest.mark.parametrize("room", ["core", "explorer"])
def test_the_readme_names_every_package(room):
    tree = re.search(rf"^{room}/ .*?(?=^\S)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)[0]
    missing = [path.parent.name for path in (ROOT / room).glob("*/__init__.py") if f"{path.parent.name}/ " not in tree]
    assert not missing, f"the tree of {room} in README.md lacks {missing}"


def test_the_document_of_the_run_folder_names_every_file_of_a_run(finished_run):
    rows = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/runs.md").read_text("utf-8"), re.MULTILINE)
    patterns = [re.sub(r"<\w+>", "*", name + "*" * name.endswith("/")) for name in rows]
    files = [path.relative_to(finished_run.path).as_posix() for path in finished_run.path.rglob("*") if path.is_file()]
    assert "run.json" in files
    unnamed = [file for file in files if not any(fnmatch(file, pattern) for pattern in patterns)]
    assert not unnamed, f"docs/runs.md names no {unnamed}"


def test_the_docker_image_starts_the_app_and_its_health_check_passes(tmp_path, measured):
    """Run the Dockerfile's commands without Docker: its copied files are enough, and both commands work."""
    dockerfile = (ROOT / "docs/deploy/Dockerfile").read_text("utf-8")
    app, home = tmp_path / "app", tmp_path / "home"
    app.mkdir(), home.mkdir()
    shutil.copy(measured, home)
    for source, target in re.findall(r"^COPY (\S+) (\S+)$", dockerfile, re.MULTILINE):
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, app / target)  # with the compiled modules: compiling takes seconds
        else:
            shutil.copy(ROOT / source, app / target)
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    entry = json.loads(re.search(r"^ENTRYPOINT (.*)$", dockerfile, re.MULTILINE)[1])
    check = json.loads(re.search(r"^HEALTHCHECK .*?CMD (.*)$", dockerfile, re.MULTILINE)[1].replace("8501", str(port)))
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {"PATH": places, "HOME": str(home), "GPT_EXPLORER_HOME": str(home), "GPT_EXPLORER_ARGS": "--open"}

    def is_healthy() -> bool:
        return not subprocess.run(check, env=environment, stderr=subprocess.DEVNULL).returncode

    assert not is_healthy()
    server = subprocess.Popen([*entry, "--port", str(port)], cwd=app, env=environment, stdout=subprocess.PIPE)
    try:
        assert b"GPT Explorer is at" in server.stdout.readline()
        wait_for(is_healthy, "the app to answer")
    finally:
        server.terminate()
        server.communicate()


def test_a_benchmark_replaces_its_table_and_keeps_the_note():
    document = "# Benchmarks\n\n## Growth\n\n| old |\n|---|\n\n> A note\n> on it.\n\n## Memory\n\n| 1 |\n"
    assert replace_section(document, "Growth", "| new |\n") == (
        "# Benchmarks\n\n## Growth\n\n| new |\n\n> A note\n> on it.\n\n## Memory\n\n| 1 |\n"
    )
    assert replace_section(document, "Quality", "| q |\n").endswith("| 1 |\n\n## Quality\n\n| q |\n")


def test_a_section_has_a_table_per_machine_and_warns_if_ratios_differ():
    def measured(machine: str, ratio: float) -> str:
        rows = [
            {"shape": "4/4", "ours": 9, "ratio (median)": ratio},
            {"shape": "6/6", "ours": 5, "ratio (median)": 2.0},
        ]
        return f"{report.table(rows)}\n\nMeasured on: {machine}\n"

    document = replace_section("# Benchmarks\n", "Growth", measured("A", 3.0)) + "\n> A note.\n\n## Memory\n"
    document = replace_section(document, "Growth", measured("B", 4.5))
    assert document.count("Measured on: ") == 2
    assert "between machines: 4/4: ratio (median) is 3 and 4.5.\n" in document and "6/6: ratio" not in document
    document = replace_section(document, "Growth", measured("A", 4.0))
    assert [document.count(f"Measured on: {machine}") for machine in "AB"] == [1, 1]
    assert "between machines" not in document and document.endswith("> A note.\n\n## Memory\n")


def test_a_missing_benchmark_document_is_created(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "_out", tmp_path / "bench.json")
    monkeypatch.setattr(report, "_document", tmp_path / "new.md")
    assert report.why_not_writable(tmp_path / "new.md") == ""
    report.report("Growth", [{"layers": 1}])
    assert (tmp_path / "new.md").read_text("utf-8").startswith("# Benchmarks\n\n## Growth\n\n| layers |\n")


@pytest.mark.parametrize("option", ["--out", "--document"])
@pytest.mark.parametrize(("path", "why"), [("absent/file", "does not exist"), ("", "is a folder")])
def test_an_output_file_that_cannot_be_written_is_refused_before_measuring(
    option, path, why, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "growth", option, str(tmp_path / path)])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr()
    assert why in said.err and not said.out
