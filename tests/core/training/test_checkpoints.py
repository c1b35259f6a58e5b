import resource

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from core.config import ModelConfig
from core.errors import DiskFullError, NotFiniteError, RunError, TrainingError
from core.model import build_model
from core.training.checkpoints import (
    checksum_holds,
    latest_checkpoint,
    load_checkpoint,
    load_weights,
    newer_checkpoints,
    newest_save,
    save_checkpoint,
    save_weights,
    save_with_checksum,
    snapshot_steps,
)
from core.training.trainer import EvaluationEvent, StepEvent


def train_and_save(trainer, folder, steps):
    """Save a checkpoint after each of the steps; return their paths."""
    paths = []
    for step in steps:
        while trainer.step < step:
            trainer.train_step()
        paths.append(save_checkpoint(folder, trainer))
    return paths


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def test_a_resumed_run_equals_an_uninterrupted_one(small, make_trainer, tmp_path):
    whole = make_trainer(small)
    (path,) = train_and_save(whole, tmp_path, [6])
    rest = [event[:4] for event in whole.events() if isinstance(event, StepEvent)]

    resumed = make_trainer(small)
    load_checkpoint(latest_checkpoint(tmp_path), resumed)
    assert resumed.step == 6
    assert [event[:4] for event in resumed.events() if isinstance(event, StepEvent)] == rest
    left, right = whole.state_dict(), resumed.state_dict()
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert path.suffix == ".safetensors"


def test_only_the_last_two_checkpoints_are_kept(small, make_trainer, tmp_path):
    paths = train_and_save(make_trainer(small), tmp_path, [0, 2, 4, 6])
    assert sorted(tmp_path.iterdir()) == paths[2:]
    assert latest_checkpoint(tmp_path) == paths[3]


def test_saving_the_same_step_again_keeps_the_previous_checkpoint(small, make_trainer, tmp_path):
    paths = train_and_save(make_trainer(small), tmp_path, [2, 4, 4])
    assert paths[1] == paths[2]
    assert sorted(tmp_path.iterdir()) == paths[:2]


@pytest.mark.parametrize("position", [0, 20, 1000, -1])
def test_a_flipped_bit_in_the_newest_checkpoint_loads_the_previous_one(small, make_trainer, tmp_path, position):
    older, newer = train_and_save(make_trainer(small), tmp_path, [2, 4])
    assert newer_checkpoints(tmp_path, latest_checkpoint(tmp_path)) == 0
    flip(newer, position)
    assert latest_checkpoint(tmp_path) == older
    assert newer_checkpoints(tmp_path, older) == 1
    assert newest_save(tmp_path) == 4
    with pytest.raises(RunError, match="not the one that was saved"):
        load_checkpoint(newer, make_trainer(small))
    trainer = make_trainer(small)
    load_checkpoint(older, trainer)
    assert trainer.step == 2


@pytest.mark.parametrize("size", [0, 7, 5000])
def test_a_truncated_newest_checkpoint_loads_the_previous_one(small, make_trainer, tmp_path, size):
    older, newer = train_and_save(make_trainer(small), tmp_path, [2, 4])
    newer.write_bytes(newer.read_bytes()[:size])
    assert latest_checkpoint(tmp_path) == older


def test_saving_after_a_fallback_removes_the_damaged_checkpoint(small, make_trainer, tmp_path):
    older, newer = train_and_save(make_trainer(small), tmp_path, [2, 6])
    flip(newer, -1)
    trainer = make_trainer(small)
    load_checkpoint(older, trainer)
    trainer.train_step()
    saved = save_checkpoint(tmp_path, trainer)
    assert sorted(tmp_path.iterdir()) == [older, saved]


def test_having_no_checkpoint_is_allowed_but_having_only_damaged_ones_is_an_error(small, make_trainer, tmp_path):
    assert latest_checkpoint(tmp_path) is None
    assert newest_save(tmp_path) == -1
    assert latest_checkpoint(tmp_path / "never made") is None
    for path in train_and_save(make_trainer(small), tmp_path, [1, 2]):
        flip(path, -1)
    with pytest.raises(RunError, match="All 2 checkpoints .* are damaged"):
        latest_checkpoint(tmp_path)


def test_a_missing_checkpoint_is_refused(small, make_trainer, tmp_path):
    with pytest.raises(RunError, match="missing"):
        load_checkpoint(tmp_path / "step-00000001.safetensors", make_trainer(small))


def test_a_checkpoint_of_another_model_is_refused(small, make_trainer, tmp_path):
    (path,) = train_and_save(make_trainer(small), tmp_path, [1])
    with pytest.raises(TrainingError, match="to another model"):
        load_checkpoint(path, make_trainer(small.replace({"model.n_layer": 1})))


def test_an_uncreatable_checkpoint_folder_is_reported(small, make_trainer, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"could not be saved .*: Not a directory"):
        save_checkpoint(tmp_path / "file" / "checkpoints", make_trainer(small))
    with pytest.raises(RunError, match="could not be saved"):
        save_weights(tmp_path / "file" / "weights.safetensors", make_trainer(small).model, 0)


def test_a_full_disk_raises_disk_full_error_and_keeps_earlier_saves(small, make_trainer, tmp_path):
    trainer = make_trainer(small)
    train_and_save(trainer, tmp_path, [1])
    save_weights(tmp_path / "weights", trainer.model, 1)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    trainer.train_step()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # the system refuses longer files
    try:
        with pytest.raises(DiskFullError, match=r"could not be saved .*: File too large"):
            save_checkpoint(tmp_path, trainer)
        with pytest.raises(DiskFullError, match="File too large"):
            save_weights(tmp_path / "weights", trainer.model, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_check_finite_detects_a_non_finite_loss_or_weight(small, make_trainer):
    trainer = make_trainer(small)
    trainer.train_step()
    parameter = next(trainer.model.parameters())
    parameter.data.fill_(torch.finfo(torch.float32).max)  # finite, although their sum is not
    trainer.check_finite()
    with pytest.raises(NotFiniteError, match="after step 1: the loss is no longer a finite number"):
        trainer.check_finite(EvaluationEvent(1, 2.0, float("nan"), 0.1))
    parameter.data.view(-1)[3] = float("inf")
    with pytest.raises(NotFiniteError, match="after step 1"):
        trainer.check_finite()


@pytest.mark.parametrize("tie_weights", [True, False])
def test_weights_and_step_survive_saving_and_loading(tmp_path, tie_weights):
    config = ModelConfig(n_layer=1, n_head=2, n_embd=16, block_size=8, tie_weights=tie_weights)
    model, other = build_model(config, 11), build_model(config, 11)
    save_weights(tmp_path / "deep" / "weights.safetensors", model, 700)
    assert load_weights(tmp_path / "deep" / "weights.safetensors", other) == 700
    ids = torch.arange(8)[None]
    assert torch.equal(model(ids)[0], other(ids)[0])
    assert (other.lm_head.weight is other.transformer.wte.weight) is tie_weights
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["weights.safetensors"]


def test_mismatched_damaged_or_missing_weights_are_refused(tmp_path):
    small, large = (build_model(ModelConfig(n_layer=n, n_head=2, n_embd=16, block_size=8), 11) for n in (1, 2))
    path = tmp_path / "weights.safetensors"
    save_weights(path, small, 1)
    with pytest.raises(RunError, match="other settings"):
        load_weights(path, large)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunError, match="damaged"):
        load_weights(path, small)
    with pytest.raises(RunError, match="missing"):
        load_weights(tmp_path / "nowhere.safetensors", small)


@given(total=st.integers(1, 1_000_000), count=st.integers(0, 200))
def test_snapshot_steps_are_sorted_unique_and_include_both_ends(total, count):
    steps = snapshot_steps(total, count)
    assert steps[-1] == total
    assert steps == sorted(set(steps))
    assert len(steps) == (min(count, total + 1) if count >= 2 else 1)
    assert count < 2 or steps[0] == 0


def test_snapshot_steps_grow_geometrically():
    assert snapshot_steps(1000, 5) == [0, 1, 10, 100, 1000]
    assert snapshot_steps(2000, 0) == snapshot_steps(2000, 1) == [2000]
    assert snapshot_steps(3, 24) == [0, 1, 2, 3]


def saved_weights(path, *, step=700):
    torch.manual_seed(0)
    model = build_model(ModelConfig(n_layer=1, n_head=2, n_embd=8, block_size=8), 7)
    save_weights(path, model, step)
    return model


@pytest.mark.parametrize("place", ["length", "metadata", "first", "middle", "last"])
def test_a_flipped_bit_in_a_weights_file_is_detected_before_loading(place, tmp_path):
    path = tmp_path / "weights.safetensors"
    model = saved_weights(path)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    flip(
        path,
        {
            "length": 0,
            "metadata": whole.index(b'"700"') + 1,
            "first": header,
            "middle": (header + len(whole)) // 2,
            "last": len(whole) - 1,
        }[place],
    )
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(RunError, match=r"weights.safetensors is (damaged|missing, or damaged)"):
        load_weights(path, model)
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_checksummed_weights_are_plain_safetensors_and_files_without_checksum_still_open(tmp_path):
    model = saved_weights(tmp_path / "weights.safetensors")
    tensors = load_file(tmp_path / "weights.safetensors")
    assert {name: p.shape for name, p in model.named_parameters()} == {n: t.shape for n, t in tensors.items()}
    save_file(tensors, tmp_path / "old.safetensors", {"step": "5"})  # the format before checksums
    assert load_weights(tmp_path / "old.safetensors", model) == 5


def test_equal_weights_give_identical_files(tmp_path):
    """The safetensors library writes metadata in random order."""
    tensors = {"b": torch.zeros(2), "a": torch.ones(3)}
    files = set()
    for _ in range(20):
        save_with_checksum(tensors, tmp_path / "w.safetensors", {"step": "3", "note": "é"})
        files.add((tmp_path / "w.safetensors").read_bytes())
    assert len(files) == 1 and checksum_holds(tmp_path / "w.safetensors")
    assert load_file(tmp_path / "w.safetensors")["a"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_weights_are_refused_on_loading(value, tmp_path):
    path = tmp_path / "weights.safetensors"
    model = saved_weights(path)
    with torch.no_grad():
        next(model.parameters())[0, 0] = value
    save_weights(path, model, 1)
    with pytest.raises(RunError, match=r"not finite \(inf or nan\).* an earlier step"):
        load_weights(path, model)
