"""The learning rate finder: its range test, its suggestion, and the settings that use it."""

from core.cli import main
from core.cli.arguments import assignment
from core.sweeps.rate_finder import LOWEST, STEPS, RateTest, main_rate, range_test
from tests.core.runs.conftest import config
from tests.core.sweeps.test_sweeps import data_dir

__all__ = ["config", "data_dir"]


def test_a_range_test_suggests_a_rate_below_the_best_one(data_dir, config):
    config = config.replace({"train.batch_size": 8})
    reports = list(range_test(config, data_dir))
    test = reports[-1].result
    assert len(test.rates) == len(test.losses) == len(test.smoothed) <= STEPS and test.rates[0] == LOWEST
    assert 1e-3 < test.suggestion < test.lowest < 1.0
    taken = test.settings(config)
    assert taken.train.learning_rate == test.suggestion
    assert abs(taken.train.min_learning_rate / test.suggestion - 0.1) < 0.001  # the ratio is kept
    assert taken.model == config.model and reports[0].total == STEPS


def test_with_muon_the_muon_learning_rate_is_tested(data_dir, config):
    config = config.replace({"train.optimizer": "muon", "train.learning_rate": 0.01, "train.muon_learning_rate": 0.02})
    assert main_rate(config) == "train.muon_learning_rate"
    test = RateTest(main_rate(config), [1e-3] * 30, [4.0] * 10 + [3.0] * 20, diverged=False)
    assert test.settings(config).train.muon_learning_rate == test.suggestion
    assert abs(test.settings(config).train.learning_rate / test.suggestion - 0.5) < 0.01


def test_a_loss_that_never_fell_gives_no_suggestion(config):
    test = RateTest("train.learning_rate", [1e-3] * 30, [4.0] * 30, diverged=False)
    assert test.lowest is None and test.suggestion is None and test.settings(config) == config


def test_the_find_rate_command_prints_every_suggested_rate(data_dir, config, capsys, monkeypatch):
    monkeypatch.setenv("GPT_EXPLORER_HOME", str(data_dir))
    given = {"model.n_layer": 1, "model.n_embd": 16, "model.block_size": 8, "train.batch_size": 8}
    given |= {"train.optimizer": "muon", "train.learning_rate": 0.004, "train.muon_learning_rate": 0.02}
    options = [word for path, value in given.items() for word in ("--set", f"{path}={value}")]
    assert main(["find-rate", "--corpus", config.data.corpus, *options]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    printed = dict(assignment(text, "--set", "") for text in line.removeprefix("Suggested: ").split() if "=" in text)
    assert [*printed] == ["train.learning_rate", "train.min_learning_rate", "train.muon_learning_rate"]
    assert abs(printed["train.muon_learning_rate"] / printed["train.learning_rate"] - 5) < 0.1
