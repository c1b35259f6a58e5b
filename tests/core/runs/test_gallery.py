"""The models that come with the app: complete, small, reproducible, read-only, opened and forked like runs."""

from pathlib import Path

import pytest

from core.cli.arguments import find_run
from core.errors import ConfigError, RunError
from core.runs.ancestry import fork, fork_config
from core.runs.commands import change_settings, extend, send_command
from core.runs.folder import RunFolder, list_runs, open_run
from core.runs.gallery import RECIPES, gallery_runs, make_model, runs_with_weights
from core.runs.weights import load_model, steps_with_weights
from core.runs.worker import train_run
from core.training.checkpoints import check_weights

GALLERY = gallery_runs()


def content(folder: RunFolder) -> dict[Path, bytes]:
    return {path.relative_to(folder.path): path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


def test_every_gallery_recipe_has_its_model_and_all_are_small():
    assert [folder.id for folder in GALLERY] == list(RECIPES)
    assert sum(folder.size for folder in GALLERY) < 8e6


@pytest.mark.parametrize("folder", GALLERY, ids=lambda folder: folder.id)
def test_each_gallery_model_matches_its_recipe_and_opens_at_every_step(folder, data_dir):
    record, (name, config) = open_run(data_dir, folder.id).record(), RECIPES[folder.id]
    assert folder.problem is None and record.name == name
    assert record.config.model == config.model and record.config.data == config.data
    assert record.config.train.steps == config.train.steps == folder.status().step
    steps = steps_with_weights(folder)
    assert len(steps) >= 10 and (steps[0], steps[-1]) == (0, config.train.steps)
    assert [load_model(folder, path).step for _step, path in folder.snapshots()] == steps
    assert folder.last_scores()["val_loss"] < folder.read_baselines()["unigram"]


def test_a_flipped_bit_in_a_gallery_model_or_a_forks_start_is_detected(data_dir, tmp_path):
    child = fork(data_dir, GALLERY[0], None, fork_config(GALLERY[0]))
    damaged = tmp_path / "weights.safetensors"
    for path in (child.start_path, *(path for folder in GALLERY for _step, path in folder.snapshots()[-1:])):
        check_weights(path)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        damaged.write_bytes(data)
        with pytest.raises(RunError, match="checksum differs from that of the saved file"):
            check_weights(damaged)


def test_the_same_recipe_gives_identical_files(tmp_path):
    config = RECIPES["gallery-induction"][1].replace({"train.steps": 12, "train.eval_windows": 8})
    one, other = (content(make_model(tmp_path / name, "twice", config)) for name in ("one", "other"))
    assert one == other and Path("snapshots/step-00000012.safetensors") in one


@pytest.mark.parametrize(
    "change",
    [
        RunFolder.delete,
        lambda folder: folder.rename("mine"),
        lambda folder: folder.write_status(folder.status()),
        lambda folder: change_settings(folder, ("train.learning_rate", 1e-4)),
        lambda folder: extend(folder, 10),
        lambda folder: send_command(folder, "stop"),
        lambda folder: train_run(folder, folder.path),
    ],
    ids=["delete", "rename", "status", "setting", "extend", "command", "train"],
)
def test_gallery_models_cannot_be_changed(change):
    folder = GALLERY[0]
    before = content(folder)
    with pytest.raises((RunError, ConfigError), match="comes with the app"):
        change(folder)
    assert content(folder) == before


def test_gallery_models_are_offered_for_use_but_not_listed_as_runs(data_dir):
    assert list_runs(data_dir) == []
    assert [folder.id for folder in runs_with_weights(data_dir)] == list(RECIPES)


def test_a_fork_of_a_gallery_model_trains(data_dir):
    parent = open_run(data_dir, "gallery-induction")
    config = fork_config(parent).replace({"train.steps": 3, "train.eval_windows": 8, "train.precision": "float32"})
    run = fork(data_dir, parent, None, config)
    assert run.path.parent == data_dir / "runs" and train_run(run, data_dir).state == "finished"
    assert run.last_scores()["val_loss"] < 3


@pytest.mark.parametrize("id", ["gallery-", "gallery-none", "gallery-../x", "gallery-shakespeare/..", "GALLERY-bigram"])
def test_only_exact_ids_open_a_gallery_model(id, data_dir):
    with pytest.raises(RunError, match="no run"):
        open_run(data_dir, id)


def test_the_command_line_finds_a_gallery_model_by_id_or_name(data_dir):
    assert find_run("gallery-bigram", data_dir).id == "gallery-bigram"
    assert find_run("Induction heads", data_dir).id == "gallery-induction"
    for wanted in ("gallery", "latest"):
        with pytest.raises(RunError):
            find_run(wanted, data_dir)
