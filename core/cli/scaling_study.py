"""`scaling`: train models of several sizes at equal compute, fit a scaling law, predict and train the next size."""

import argparse
from typing import TYPE_CHECKING

from core.cli.arguments import add_config_options, add_engine, choose_engine, config_wanted, new_supervisor
from core.cli.sweep import drive_sweep
from core.errors import ConfigError
from core.paths import data_dir
from core.terminal import print_line

if TYPE_CHECKING:
    from core.runs.supervisor import Supervisor
    from core.sweeps.folder import SweepFolder
    from core.training.scaling_law import ScalingRun

_FIRST_STEPS = 400


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "scaling",
        help="fit a scaling law and predict the next size",
        description="Train models of several sizes at equal compute (three budgets), fit loss = E + A/N^a + B/D^b, and "
        "with --next predict a further size, train it, and say how far off the prediction was.",
    )
    add_config_options(parser)
    parser.add_argument("--sizes", help="layers x width, such as 1x16,1x32,2x48,2x64 (default: these)")
    parser.add_argument(
        "--seeds", type=int, default=2, metavar="N", help="number of runs for each size and budget (default: 2)"
    )
    parser.add_argument("--name", help="a label for the study (default: one is made up)")
    parser.add_argument("--estimate", action="store_true", help="show the estimated cost and train nothing")
    parser.add_argument("--resume", metavar="STUDY", help="resume a stopped study, or print it (default: a new one)")
    parser.add_argument("--next", metavar="SIZE", help="predict a further size, then train it (default: none)")
    add_engine(parser)
    parser.set_defaults(run=scaling_command)


def scaling_command(options: argparse.Namespace) -> int:
    """Train a study, print its scaling law, and predict and train the next size if one is given."""
    from core.runs.ancestry import check_startable
    from core.runs.class_sizes import parse_size, parse_sizes
    from core.sweeps.driver import resume_sweep
    from core.sweeps.folder import cost_in_words, create_sweep, expected_cost, open_sweep
    from core.sweeps.scaling import FIRST_SIZES, plan_scaling

    size = parse_size(options.next) if options.next else None
    if not options.estimate:
        choose_engine(options)
    supervisor = new_supervisor()
    if options.resume:
        sweep = open_sweep(data_dir(), options.resume)
        if not sweep.record().budget:
            raise ConfigError(
                f"{options.resume!r} is a sweep. Resume it: python -m core sweep --resume {options.resume}"
            )
        if sweep.record().state == "stopped":
            resume_sweep(sweep, supervisor)
    else:
        config, parent, _, text = config_wanted(options)
        if parent or text:
            raise ConfigError("A study trains new models on a text from the list. Leave out --from and --text.")
        steps = _FIRST_STEPS if options.steps is None else options.steps
        sizes = parse_sizes(options.sizes or FIRST_SIZES)
        record = plan_scaling(config, data_dir(), sizes, steps, seeds=options.seeds, name=options.name or "")
        vocab_size = check_startable(data_dir(), record.config)
        print_line(cost_in_words(expected_cost(data_dir(), record, vocab_size, supervisor.slots)))
        if options.estimate:
            return 0
        sweep = create_sweep(data_dir(), record)
    if sweep.record().state == "running" and (code := drive_sweep(sweep, supervisor)):
        return code
    _print_law(sweep)
    return _train_next(sweep, new_supervisor(), options.next) if size else 0


def _runs_of(sweep: "SweepFolder") -> "list[ScalingRun]":
    from core.sweeps.results import sweep_results
    from core.sweeps.scaling import scaling_runs

    record = sweep.record()
    return scaling_runs(sweep, record, sweep_results(sweep, record))


def _print_law(sweep: "SweepFolder") -> None:
    from core.training.scaling_law import law_of

    runs = _runs_of(sweep)
    for run in runs:
        print_line(
            f"{run.size:>7}  N {run.parameters:>10,}  D {run.tokens:>12,}  C {run.compute:.2e}  loss {run.loss:.3f}"
        )
    law = law_of(runs)
    floor, alphas = law.coefficients[0], law.exponent_intervals()
    (a, b) = (f"{each.value:.2f} ({each.low:.2f} to {each.high:.2f})" for each in alphas)
    print_line(f"loss = {floor:.2f} + A/N^a + B/D^b, with a = {a} and b = {b} (90%)")


def _train_next(sweep: "SweepFolder", supervisor: "Supervisor", text: str) -> int:
    from core.runs.class_sizes import parse_size
    from core.sweeps.scaling import predict_size, train_prediction

    prediction = predict_size(sweep, sweep.record(), _runs_of(sweep), parse_size(text))
    low, high = prediction.loss.low, prediction.loss.high
    print_line(
        f"Predicted for {prediction.size}: {prediction.loss.value:.3f}, with 90% between {low:.3f} and {high:.3f}"
    )
    train_prediction(sweep, prediction)
    if code := drive_sweep(sweep, supervisor):
        return code
    for run in _runs_of(sweep):
        if run.size != str(prediction.size):
            continue
        inside = "inside" if low <= run.loss <= high else "outside"
        print_line(f"Trained: {run.loss:.3f}, {run.loss - prediction.loss.value:+.3f} off, {inside} the interval.")
    return 0
