import pytest
import torch

from core.config import RunConfig
from core.errors import ConfigError, RunError, TextError
from core.runs.continuation import extend, turn
from core.runs.folder import RunFolder, list_runs
from core.runs.forks import fork, fork_config
from core.runs.models import load_model
from core.runs.training_loop import train_run
from core.text.own_text import save_text
from core.text.tokenizers import load_tokenizer


@pytest.fixture
def parent(data_dir, run) -> RunFolder:
    train_run(run, data_dir)
    return run


def test_a_fork_begins_where_its_parent_was_and_remembers_it(data_dir, parent):
    step = parent.snapshots()[2][0]
    config = fork_config(parent).replace({"train.learning_rate": 3e-4, "model.dropout": 0.0, "train.steps": 6})
    child = fork(data_dir, parent, step, config)
    record = child.record()
    assert (record.parent, record.parent_step, record.config) == (parent.id, step, config)
    assert child.name == f"{parent.name} from step {step}"
    assert (child.status().state, child.status().step, child.status().steps) == ("queued", 0, 6)
    assert load_tokenizer(child.tokenizer_path) == load_tokenizer(parent.tokenizer_path)

    parent.delete()
    assert train_run(child, data_dir).state == "finished"
    begun = dict(load_model(child, child.start_path).model.named_parameters())
    first = dict(load_model(child, child.snapshot_path(0)).model.named_parameters())
    assert all(torch.equal(first[name], begun[name]) for name in begun)
    assert child.read_metrics()[0]["step"] == 0


def test_its_first_row_shows_the_parents_last_loss(data_dir, parent):
    child = fork(data_dir, parent, None, fork_config(parent), "again")
    assert (child.name, child.record().parent_step) == ("again", 12)
    train_run(child, data_dir)
    for name in ("train_loss", "val_loss"):
        assert child.read_metrics()[0][name] == parent.read_metrics()[-1][name]
    twin = fork(data_dir, parent, 12, fork_config(parent))
    train_run(twin, data_dir)
    assert twin.weights_path.read_bytes() == child.weights_path.read_bytes()


def test_a_forks_settings_are_as_turned_and_its_schedule_is_whole(data_dir, parent):
    turn(parent, "train.batch_size", 5)
    extend(parent, 8)
    assert parent.config_now().train.decay_steps == 12
    config = fork_config(parent)
    assert (config.train.batch_size, config.train.steps, config.train.decay_steps) == (5, 20, 0)


def test_what_does_not_fit_is_refused_before_anything_is_made(data_dir, config, parent):
    for changes, sentence in (
        ({"model.n_embd": 32}, "are of a model with model.n_embd 16. A fork keeps the model"),
        ({"model.n_head": 1}, "model.n_head 2"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            fork(data_dir, parent, 12, config.replace(changes))
    with pytest.raises(RunError, match=r"has kept no weights of step 11. It has those of 0, .*12"):
        fork(data_dir, parent, 11, config)
    other = save_text("An entirely other text, with a § in it. " * 20, "Other", data_dir).name
    with pytest.raises(TextError, match="does not occur in the text this model learned from"):
        fork(data_dir, parent, 12, config.replace({"data.corpus": other}))
    assert [run.id for run in list_runs(data_dir)] == [parent.id]


def test_a_run_without_weights_has_nothing_to_fork(data_dir, config: RunConfig):
    run = RunFolder.create(data_dir, config)
    with pytest.raises(RunError, match="has saved no weights yet"):
        fork(data_dir, run, None, config)
    with pytest.raises(RunError, match="It has those of no step yet"):
        fork(data_dir, run, 3, config)


def test_a_fork_may_learn_another_text_of_the_same_characters(data_dir, parent):
    text = save_text("99 bottles take a fall, down the wall and pass around.\n" * 30, "Other", data_dir).name
    child = fork(data_dir, parent, 12, fork_config(parent).replace({"data.corpus": text}))
    assert train_run(child, data_dir).state == "finished"
