"""The zip of a run imports as a new run, and nothing in a zip is written outside its folder."""

import json
import stat
import zipfile

import pytest
import torch

from core.cli import main
from core.errors import ExplorerError
from core.runs import archive
from core.runs.ancestry import new_run
from core.runs.archive import holds_run, import_run, zip_run
from core.runs.commands import extend
from core.runs.folder import list_runs
from core.runs.records import MAX_EMBEDDINGS
from core.runs.weights import load_model, steps_with_weights
from core.runs.worker import train_run
from core.text.own_text import save_text


@pytest.fixture
def packed(finished_run, tmp_path):
    path = tmp_path / "packed.zip"
    with path.open("wb") as file:
        zip_run(finished_run, file)
    return path


def repacked(packed, change):
    """Write the zip again after a function has changed its members, given by their names in the run folder."""
    with zipfile.ZipFile(packed) as source:
        top = source.namelist()[0].split("/")[0]
        members = {name.split("/", 1)[1]: source.read(name) for name in source.namelist()}
    change(members)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in members.items():
            target.writestr(name if isinstance(name, zipfile.ZipInfo) else f"{top}/{name}", data)
    return packed


def edited(file, **values):
    def change(members):
        members[file] = json.dumps(json.loads(members[file]) | values)

    return change


def test_an_imported_zip_restores_the_whole_run_under_a_new_id(packed, finished_run, explorer_home):
    again = import_run(explorer_home, packed)
    assert again.id != finished_run.id and again.name == finished_run.name
    assert again.status().state == "finished" and again.status().pid is None
    assert again.record().config == finished_run.record().config
    assert again.record().corpus_hash == finished_run.record().corpus_hash
    assert again.read_baselines() == finished_run.read_baselines()
    for name in ("metrics", "samples", "events", "health"):
        assert again.rows(name) == finished_run.rows(name), name
    assert steps_with_weights(again) == steps_with_weights(finished_run)
    assert again.read_probe().tokens == finished_run.read_probe().tokens
    ours, theirs = load_model(finished_run), load_model(again)
    assert ours.tokenizer == theirs.tokenizer and ours.step == theirs.step
    assert all(torch.equal(a, b) for a, b in zip(ours.model.parameters(), theirs.model.parameters(), strict=True))
    assert import_run(explorer_home, packed, "another label").name == "another label"
    assert len(list_runs(explorer_home)) == 3


def test_a_run_imported_from_a_zip_can_be_extended(packed, explorer_home):
    again = import_run(explorer_home, packed)
    extend(again, 5)
    assert train_run(again, explorer_home).step == 25
    assert again.rows("metrics")[-1]["step"] == 25


def test_a_run_zipped_during_training_is_imported_as_stopped(packed, running_run, explorer_home, tmp_path):
    with (tmp_path / "running.zip").open("wb") as file:
        zip_run(running_run, file)
    status = import_run(explorer_home, tmp_path / "running.zip").status()
    assert (status.state, status.pid, status.step) == ("stopped", None, 10) and "still training" in status.reason


def test_the_import_command_opens_a_zipped_run(packed, finished_run, explorer_home, capsys):
    assert main(["import", str(packed)]) == 0
    newest = max(list_runs(explorer_home), key=lambda run: run.path.stat().st_ctime)
    assert newest.id in capsys.readouterr().out and newest.id != finished_run.id


def add(name, data=b"x"):
    return lambda members: members.update({name: data})


def link(name):
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize(
    "name",
    ["../../escaped.txt", "/tmp/escaped.txt", "..\\escaped.txt", "snapshots/../../escaped.txt", "worker.lock", "a/b.py",
     "snapshots/step-1.safetensors", "commands/00-stop.json", "probes/latest.safetensors/x"],
)  # fmt: skip
def test_unknown_zip_members_are_ignored_and_nothing_is_written_outside_the_run(name, packed, explorer_home, tmp_path):
    before = {path for path in tmp_path.rglob("*") if explorer_home / "runs" not in path.parents}
    again = import_run(explorer_home, repacked(packed, add(name)))
    assert {path for path in tmp_path.rglob("*") if explorer_home / "runs" not in path.parents} == before
    assert not [path for path in again.path.rglob("*") if path.is_file() and path.read_bytes() == b"x"]


MIN_BOUND = 16 << 20  # bytes; the gigabyte of the product would take ten seconds


def without(name):
    return lambda members: members.pop(name)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (without("run.json"), "does not contain a run"),
        (without("tokenizer.json"), "tokenizer of this model"),
        (add("run.json", b"[" * 100_000), "run.json in the zip is damaged"),
        (add("run.json", b"{}"), "run.json in the zip is damaged"),
        (edited("run.json", created="yesterday"), "created is not a date"),
        (edited("run.json", config={"model": {"n_layer": 10**30}}), "n_layer"),
        (edited("status.json", step=10**30), "no run has that many steps"),
        (edited("status.json", state="flying"), "status.json in the zip is damaged"),
        (add("weights.safetensors", b"half"), "weights.safetensors is missing, or damaged"),
        (add("weights.safetensors", bytes(2 * MIN_BOUND)), "far more than its own size"),
        (edited("run.json", name="\u202e"), "at least one character"),
    ],
)
def test_a_damaged_or_absurd_zip_is_refused_and_leaves_no_run(change, sentence, packed, explorer_home, monkeypatch):
    monkeypatch.setattr(archive, "_MIN_BOUND", MIN_BOUND)
    before = sorted((explorer_home / "runs").iterdir())
    with pytest.raises(ExplorerError, match=sentence):
        import_run(explorer_home, repacked(packed, change))
    assert sorted((explorer_home / "runs").iterdir()) == before


def test_links_in_a_zip_are_refused(packed, finished_run, explorer_home):
    name = f"{finished_run.id}/closeup.json"
    with pytest.raises(ExplorerError, match=r"closeup.json in the zip is a link"):
        import_run(explorer_home, repacked(packed, lambda members: members.update({link(name): b"/etc/passwd"})))


def test_invalid_rows_in_a_zip_are_skipped(packed, finished_run, explorer_home):
    def change(members):
        members["metrics.jsonl"] += b'{"step": 1e9, "loss": 1}\n{"step": 21, "loss": "high"}\nnull\n{"loss": 1}\n' + (
            b'{"step": %d, "loss": 2.0}\n[[[' % 10**30
        )
        members["samples.jsonl"] += b'{"step": 3, "text": 7}\n'
        members["health.jsonl"] += b'{"step": 3, "rate": 1.0}\n'
        members["events.jsonl"] += b'{"step": 3, "kind": ["turn"]}\n'

    again = import_run(explorer_home, repacked(packed, change))
    for name in ("metrics", "samples", "events", "health"):
        assert again.rows(name) == finished_run.rows(name)


def test_a_flipped_bit_in_a_zip_is_detected(packed, explorer_home):
    with zipfile.ZipFile(packed) as file:
        (member,) = [member for member in file.infolist() if member.filename.endswith("weights.safetensors")]
    data = bytearray(packed.read_bytes())
    data[member.header_offset + member.compress_size // 2] ^= 1
    packed.write_bytes(data)
    with pytest.raises(ExplorerError, match="weights.safetensors in the zip is damaged"):
        import_run(explorer_home, packed)


def test_holds_run_is_false_for_other_files(tmp_path):
    torch.save({"model": {}}, tmp_path / "ckpt.pt")
    (tmp_path / "text.txt").write_text("no zip")
    assert not any(holds_run(tmp_path / name) for name in ("ckpt.pt", "text.txt", "missing.zip"))


def test_a_run_with_very_many_tokens_keeps_its_probe_after_import(data_dir, config, tmp_path):
    text = "".join(chr(0x4E00 + number) for number in range(MAX_EMBEDDINGS + 200)) * 2
    corpus = save_text(text, "Many", data_dir).name
    run = new_run(data_dir, config.replace({"data.corpus": corpus, "train.steps": 1}))
    assert train_run(run, data_dir).state == "finished"
    packed = tmp_path / "many.zip"
    with packed.open("wb") as file:
        zip_run(run, file)
    probe = import_run(data_dir, packed).read_probe()
    assert probe is not None and len(probe.embedding) == MAX_EMBEDDINGS
