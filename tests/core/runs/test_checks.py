"""What cannot be trained is refused before there is a run, and leaves nothing behind."""

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
from core.runs.checks import check_startable, new_run
from core.runs.folder import RunFolder, list_runs
from core.runs.forks import fork, fork_config
from core.runs.model_files import import_model
from core.runs.training_loop import train_run
from core.settings import fields_of
from core.text.corpora import load_corpus
from core.text.own_text import save_text
from core.text.tokenizers import load_tokenizer
from core.training.trainer import Trainer
from explorer.__main__ import main as serve
from tests.core.import_export.conftest import TEXT, bpe_folder, gpt2_folder, theirs  # noqa: F401 - fixtures


@pytest.fixture
def imported(data_dir, gpt2_folder) -> RunFolder:  # noqa: F811
    return import_model(data_dir, gpt2_folder, save_text(TEXT * 40, "To be", data_dir).name)


def test_a_text_too_short_in_tokens_is_no_text_for_a_fork(data_dir, imported, capsys, monkeypatch):
    """Its context of 32 needs 321 tokens; 400 characters are enough, but hold fewer tokens."""
    short = save_text((TEXT * 9)[:400], "Short", data_dir).name
    count = len(load_tokenizer(imported.tokenizer_path).encode((TEXT * 9)[:400]))
    config = fork_config(imported).replace({"data.corpus": short})
    with pytest.raises(TextError) as refused:
        fork(data_dir, imported, None, config)
    assert f"This text has {count:,} tokens, and {321 - count:,} are missing" in str(refused.value)
    assert str(refused.value).endswith("Choose a longer text."), "a fork keeps the context"
    monkeypatch.setenv("GPT_EXPLORER_HOME", str(data_dir))
    assert main(["train", "--from", imported.id, "--corpus", short]) == 2
    assert "tokens, and" in capsys.readouterr().err
    assert [run.id for run in list_runs(data_dir)] == [imported.id]


def test_a_text_long_enough_in_tokens_is_trained_on(data_dir, imported):
    corpus = save_text(TEXT * 5, "To be", data_dir).name
    changes = {"train.steps": 1, "train.batch_size": 2, "train.eval_windows": 2, "train.sample_length": 2}
    config = fork_config(imported).replace(changes | {"data.corpus": corpus, "data.val_fraction": 0.3})
    assert train_run(fork(data_dir, imported, None, config), data_dir).state == "finished"


def test_pieces_of_words_need_a_model_that_brings_them(data_dir, config):
    with pytest.raises(RunError, match="come with an imported model"):
        new_run(data_dir, config.replace({"data.tokenizer": "bpe"}))
    assert not list_runs(data_dir)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP])
def test_a_file_system_without_locks_is_noticed_before_a_run_is_made(data_dir, config, monkeypatch, capsys, code):
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
        with pytest.raises(RunError, match=r"cannot be locked, because its file system has no locks .*Set GPT_EXPLO"):
            doing()
    assert main(["train", "--corpus", config.data.corpus, "--set", "model.block_size=8"]) == 2
    assert serve(["--home", str(data_dir), "--port", "9"]) == 2
    told = capsys.readouterr().err
    assert told.count("cannot be locked") == 2 and "Traceback" not in told
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
def test_a_model_of_any_settings_takes_a_step_or_is_refused_in_a_sentence(shape):
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


def test_what_can_be_started_says_how_many_tokens_its_model_knows(data_dir, config, imported):
    text = load_corpus(config.data.corpus, data_dir)
    assert check_startable(data_dir, config) == check_startable(data_dir, config, text=text) == len(set(text))
    assert check_startable(data_dir, fork_config(imported), imported) == 300
