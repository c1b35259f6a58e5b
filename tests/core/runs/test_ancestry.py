"""New runs, forks, and the ancestors of a run."""

import errno
import fcntl
import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.atomic_io import append_row
from core.cli import main
from core.config import ModelConfig, RunConfig
from core.errors import ConfigError, NotFiniteError, RunError, TextError
from core.lessons.shannon import Passage
from core.runs.ancestry import check_startable, fork, fork_config, may_have_trained_on, new_run
from core.runs.commands import change_settings, config_now, extend
from core.runs.folder import RunFolder, list_runs
from core.runs.model_files import import_model
from core.runs.weights import load_model
from core.runs.worker import train_run
from core.settings import fields_of
from core.text.corpora import load_corpus
from core.text.own_text import save_text
from core.text.tokenizers import load_tokenizer
from core.training.trainer import Trainer
from explorer.__main__ import main as serve
from tests.conftest import TEXT
from tests.core.import_export.conftest import TEXT as IMPORTED_TEXT
from tests.core.import_export.conftest import bpe_folder, gpt2_folder, theirs  # noqa: F401 - fixtures


@pytest.fixture
def parent(data_dir, run) -> RunFolder:
    train_run(run, data_dir)
    return run


def test_a_fork_starts_with_its_parents_weights_and_records_its_parent(data_dir, parent):
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
    assert child.rows("metrics")[0]["step"] == 0


def test_a_forks_first_row_has_the_parents_last_loss(data_dir, parent):
    child = fork(data_dir, parent, None, fork_config(parent), "again")
    assert (child.name, child.record().parent_step) == ("again", 12)
    train_run(child, data_dir)
    for name in ("train_loss", "val_loss"):
        assert child.rows("metrics")[0][name] == parent.rows("metrics")[-1][name]
    second = fork(data_dir, parent, 12, fork_config(parent))
    train_run(second, data_dir)
    assert second.weights_path.read_bytes() == child.weights_path.read_bytes()


def test_a_fork_takes_changed_settings_and_a_schedule_over_all_its_steps(data_dir, parent):
    change_settings(parent, ("train.batch_size", 5))
    extend(parent, 8)
    assert config_now(parent).train.decay_steps == 12
    config = fork_config(parent)
    assert (config.train.batch_size, config.train.steps, config.train.decay_steps) == (5, 20, 0)


def test_a_fork_with_another_model_step_or_alphabet_is_refused_before_it_is_created(data_dir, config, parent):
    for changes, sentence in (
        ({"model.n_embd": 32}, "are of a model with model.n_embd 16. A fork keeps the model"),
        ({"model.n_head": 1}, "model.n_head 2"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            fork(data_dir, parent, 12, config.replace(changes))
    with pytest.raises(RunError, match=r"has no weights of step 11. It has the weights of 0, .*12"):
        fork(data_dir, parent, 11, config)
    other = save_text("An entirely other text, with a § in it. " * 20, "Other", data_dir).name
    with pytest.raises(TextError, match="does not occur in the text that this model learned from"):
        fork(data_dir, parent, 12, config.replace({"data.corpus": other}))
    assert [run.id for run in list_runs(data_dir)] == [parent.id]


def test_a_run_without_weights_cannot_be_forked(data_dir, config: RunConfig):
    run = RunFolder.create(data_dir, config)
    with pytest.raises(RunError, match="has saved no weights yet"):
        fork(data_dir, run, None, config)
    with pytest.raises(RunError, match="It has the weights of no step yet"):
        fork(data_dir, run, 3, config)


def test_a_fork_may_train_on_another_text_with_the_same_characters(data_dir, parent):
    text = save_text("99 bottles take a fall, down the wall and pass around.\n" * 30, "Other", data_dir).name
    child = fork(data_dir, parent, 12, fork_config(parent).replace({"data.corpus": text}))
    assert train_run(child, data_dir).state == "finished"


@pytest.fixture
def imported(data_dir, gpt2_folder) -> RunFolder:  # noqa: F811
    return import_model(data_dir, gpt2_folder, save_text(IMPORTED_TEXT * 40, "To be", data_dir).name)


def test_a_fork_on_a_text_with_too_few_tokens_is_refused(data_dir, imported, capsys, monkeypatch):
    """A context of 32 needs 321 tokens; 400 characters would be enough, but give fewer tokens."""
    short = save_text((IMPORTED_TEXT * 9)[:400], "Short", data_dir).name
    count = len(load_tokenizer(imported.tokenizer_path).encode((IMPORTED_TEXT * 9)[:400]))
    config = fork_config(imported).replace({"data.corpus": short})
    with pytest.raises(TextError) as refused:
        fork(data_dir, imported, None, config)
    assert f"This text has {count:,} tokens; " in str(refused.value) and "needs 321." in str(refused.value)
    assert str(refused.value).endswith("Choose a longer text."), "a fork keeps the context"
    monkeypatch.setenv("GPT_EXPLORER_HOME", str(data_dir))
    assert main(["train", "--from", imported.id, "--corpus", short]) == 2
    assert f"{count:,} tokens; " in capsys.readouterr().err
    assert [run.id for run in list_runs(data_dir)] == [imported.id]


def test_a_fork_trains_on_a_text_with_enough_tokens(data_dir, imported):
    corpus = save_text(IMPORTED_TEXT * 5, "To be", data_dir).name
    changes = {"train.steps": 1, "train.batch_size": 2, "train.eval_windows": 2, "train.sample_length": 2}
    changes |= {"train.precision": "float32"}  # avoids measuring the machine
    config = fork_config(imported).replace(changes | {"data.corpus": corpus, "data.val_fraction": 0.3})
    assert train_run(fork(data_dir, imported, None, config), data_dir).state == "finished"


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP])
def test_a_file_system_without_locks_is_refused_before_a_run_is_created(data_dir, config, monkeypatch, capsys, code):
    run = new_run(data_dir, config)

    def no_lock(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", no_lock)
    monkeypatch.setenv("GPT_EXPLORER_HOME", str(data_dir))
    doings = (
        lambda: new_run(data_dir, config),
        lambda: train_run(run, data_dir),
        lambda: run.rename("other"),
        lambda: append_row(run.events_path, {}),
    )
    for doing in doings:
        with pytest.raises(
            RunError, match=r"cannot be locked, because its file system does not support locks .*Set GPT_EXPLO"
        ):
            doing()
    settings = ["--set", "model.block_size=8", "--set", "train.precision=float32"]
    assert main(["train", "--corpus", config.data.corpus, *settings]) == 2
    assert serve(["--home", str(data_dir), "--port", "9"]) == 2
    printed = capsys.readouterr().err
    assert printed.count("cannot be locked") == 2 and "Traceback" not in printed
    assert {path.name for path in (data_dir / "runs").iterdir()} == {run.id, "supervisor.lock"}
    assert run.status().state == "queued"


def test_sinusoidal_positions_of_an_odd_width_are_refused():
    with pytest.raises(ConfigError, match="n_embd must be even, not 9"):
        RunConfig().replace({"model.position": "sinusoidal", "model.n_embd": 9, "model.n_head": 3})


SMALL = {
    "n_layer": st.integers(1, 3),
    "n_head": st.integers(1, 9),
    "n_embd": st.integers(8, 18),
    "block_size": st.integers(2, 5),
    "dropout": st.sampled_from([0.0, 0.5, 0.9]),
    "init_std": st.sampled_from([1e-4, 0.02, 2.0]),
}
SHAPES = st.fixed_dictionaries(
    {
        name: SMALL[name] if name in SMALL else st.sampled_from(field.choices or (False, True))
        for name, field in fields_of(ModelConfig)
    }
)


@settings(max_examples=60)
@given(SHAPES)
def test_any_model_settings_train_for_a_step_or_are_refused(shape):
    try:
        model = ModelConfig.parse(shape)
    except ConfigError as error:
        assert str(error).endswith(".")
        return
    config = RunConfig(model=model).replace({"train.batch_size": 2, "train.eval_windows": 2})
    ids = torch.arange(40) % 3
    trainer = Trainer(config, ids, ids, vocab_size=3)
    try:
        trainer.train_step()
        trainer.evaluate()
    except NotFiniteError:
        assert model.init_std == 2.0


def test_check_startable_returns_the_vocabulary_size(data_dir, config, imported):
    text = load_corpus(config.data.corpus, data_dir)
    assert check_startable(data_dir, config) == check_startable(data_dir, config, text=text) == len(set(text))
    assert check_startable(data_dir, fork_config(imported), imported) == 300


END = 0.95  # share of the text; its last tenth is the validation split


@pytest.fixture
def corpus(finished_run) -> str:
    return finished_run.record().config.data.corpus


@pytest.fixture
def passage() -> Passage:
    start = int(END * len(TEXT))
    return Passage(start, TEXT[start - 100 : start], TEXT[start : start + 30])


def edit(run: RunFolder, settings: dict | None = None, **changes) -> None:
    record = run.record()
    run.write_record(record.model_copy(update={"config": record.config.replace(settings or {}), **changes}))


def test_a_run_has_not_trained_on_its_validation_split(explorer_home, finished_run, corpus, passage):
    assert not may_have_trained_on(finished_run, explorer_home, corpus, passage)
    assert may_have_trained_on(finished_run, explorer_home, corpus, passage._replace(start=10))
    edit(finished_run, {"data.val_fraction": 0.01})
    assert may_have_trained_on(finished_run, explorer_home, corpus, passage)


def test_a_fork_may_have_trained_on_the_text_of_its_ancestors(explorer_home, finished_run, corpus, passage):
    child = fork(explorer_home, finished_run, 20, fork_config(finished_run))
    edit(child, parent_step=None)  # a fork of settings only, which has seen no text
    again = fork(explorer_home, finished_run, 20, fork_config(finished_run))
    last = RunFolder.create(explorer_home, fork_config(again), parent=again.id, parent_step=3)
    for run in (child, again, last):
        assert not may_have_trained_on(run, explorer_home, corpus, passage)
    edit(finished_run, {"data.val_fraction": 0.01})
    assert not may_have_trained_on(child, explorer_home, corpus, passage)
    assert may_have_trained_on(again, explorer_home, corpus, passage)
    assert may_have_trained_on(last, explorer_home, corpus, passage)


def test_runs_with_unknown_ancestry_or_text_may_have_trained_on_a_passage(explorer_home, add_run, corpus, passage):
    deleted, imported, itself, other = (add_run(name) for name in ("deleted", "imported", "itself", "other"))
    children = [fork(explorer_home, run, 20, fork_config(run)) for run in (deleted, imported)]
    deleted.delete()
    edit(imported, origin="imported from ckpt.pt, in nanoGPT's format")
    edit(itself, parent=itself.id, parent_step=20)
    edit(other, corpus_hash="0" * 64)  # a text that has changed since
    for run in (*children, imported, itself, other):
        assert may_have_trained_on(run, explorer_home, corpus, passage)


@pytest.mark.parametrize("held", [True, False])
def test_an_ancestors_other_text_is_searched_for_the_passage(explorer_home, finished_run, corpus, passage, held):
    child = fork(explorer_home, finished_run, 20, fork_config(finished_run))
    found = (passage.before[-60:] + passage.hidden if held else passage.hidden[:4]) + "\n"
    text = save_text((found + "question mind suffer\n" * 9) * 20, "Another", explorer_home)
    edit(finished_run, {"data.corpus": text.name}, corpus_hash=None)
    assert may_have_trained_on(child, explorer_home, corpus, passage) == held
    edit(finished_run, {"data.corpus": "text-0000000000000000"})
    assert may_have_trained_on(child, explorer_home, corpus, passage)  # nothing is known about a missing text
