"""`sweep`, `sweeps` and `find-rate`: train many runs that differ in chosen settings, and print their results."""

import argparse
import json
import time
from typing import TYPE_CHECKING, Any

from rich.text import Text

from core.cli.arguments import (
    add_config_options,
    add_engine,
    choose_engine,
    config_wanted,
    new_supervisor,
    save_own_text,
)
from core.cli.lists import new_table, print_table
from core.config import RunConfig
from core.errors import ConfigError, RunError
from core.formatting import duration_in_words, format_rate, format_setting
from core.paths import data_dir
from core.presets import PRESETS, preset
from core.settings import differences
from core.sweeps.space import METHODS, OFFERED
from core.terminal import print_line
from core.text.token_display import printable

if TYPE_CHECKING:
    from core.runs.engines.engine import Engine
    from core.runs.supervisor import Supervisor
    from core.sweeps.folder import SweepFolder, SweepRecord
    from core.sweeps.results import PointResult
    from core.sweeps.space import Dimension

_LOOK_SECONDS = 0.5
_MEANS = "a sweep's id or its first characters, or its name, or: latest"


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "sweep",
        help="train many runs that differ in chosen settings",
        description="Train many runs that differ in chosen settings, and say which were best. It trains until all are "
        "done; Ctrl-C stops it, and --resume continues it.",
    )
    add_config_options(parser)
    parser.add_argument(
        "--vary", action="append", default=[], metavar="train.learning_rate=1e-4..1e-2",
        help="a setting with its range, or its list (model.n_layer=2,4,6); in a grid a range has 4 positions, or 6 as "
        "in 1e-4..1e-2:6; may be given several times (default: none)",
    )  # fmt: skip
    about = ", ".join(f"{name} {METHODS[name].about}" for name in OFFERED)
    parser.add_argument("--method", choices=OFFERED, default="tpe", help=f"{about} (default: tpe)")
    parser.add_argument("--points", type=int, metavar="N", help="number of combinations (default: 12; a grid has all)")
    parser.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="number of runs for each combination (default: 1)"
    )
    prune = {"action": argparse.BooleanOptionalAction, "default": None}
    parser.add_argument(
        "--prune", **prune, help="stop runs whose loss is above the others' median (default: with tpe only)"
    )
    parser.add_argument("--name", help="a label for the sweep (default: one is made up)")
    parser.add_argument("--estimate", action="store_true", help="show the estimated cost and train nothing")
    parser.add_argument("--resume", metavar="SWEEP", help=f"resume a stopped sweep: {_MEANS} (default: a new one)")
    parser.add_argument(
        "--extend", metavar="SWEEP", help="extend a sweep by --points combinations (default: a new one)"
    )
    parser.add_argument(
        "--around-best", metavar="SWEEP", help="narrow the ranges around a sweep's best combination (default: no sweep)"
    )
    add_engine(parser)
    parser.set_defaults(run=sweep_command)

    parser = commands.add_parser(
        "sweeps", help="list your sweeps, or show one", description="List your sweeps, or show the points of one."
    )
    parser.add_argument("wanted", nargs="?", metavar="SWEEP", help=_MEANS)
    parser.add_argument("--json", action="store_true", help="write one as JSON, with the losses of all its points")
    parser.add_argument("--stop", action="store_true", help="stop one; its runs save and end")
    parser.add_argument("--delete", action="store_true", help="delete one; its runs are kept")
    parser.set_defaults(run=sweeps_command)

    about = "raise the learning rate over some steps and suggest one"
    parser = commands.add_parser(
        "find-rate", help=about, description="Train for about a hundred steps while the learning rate rises by equal "
        "factors, save nothing, and suggest a rate below the one with the lowest loss.",
    )  # fmt: skip
    add_config_options(parser)
    parser.set_defaults(run=find_rate_command)


def sweep_command(options: argparse.Namespace) -> int:
    """Create, resume or extend a sweep, and train it to its end; returns 130 if it was stopped."""
    from core.sweeps.driver import extend_sweep, resume_sweep
    from core.sweeps.folder import open_sweep

    others = [name for name in ("resume", "extend", "around_best") if getattr(options, name)]
    if len(others) > 1 or (others and options.vary):
        raise ConfigError("Give only one of --vary, --resume, --extend and --around-best.")
    if not options.estimate:
        choose_engine(options)
    supervisor = new_supervisor()
    if options.resume:
        sweep = open_sweep(data_dir(), options.resume)
        resume_sweep(sweep, supervisor)
    elif options.extend:
        sweep = open_sweep(data_dir(), options.extend)
        extend_sweep(sweep, 4 if options.points is None else options.points)
    else:
        made = _new_sweep(options, supervisor.slots)
        if made is None:
            return 0
        sweep = made
    return drive_sweep(sweep, supervisor)


def _new_sweep(options: argparse.Namespace, at_a_time: int) -> "SweepFolder | None":
    """Create the sweep that the options describe; returns None if only its cost was requested."""
    from core.runs.ancestry import check_startable
    from core.sweeps.folder import cost_in_words, create_sweep, expected_cost, open_sweep, planned
    from core.sweeps.results import narrowed, sweep_results
    from core.sweeps.space import parse_dimension

    def plan(config: RunConfig, dimensions: "list[Dimension]") -> "SweepRecord":
        return planned(
            config, dimensions, options.method, points=options.points, seeds=options.seeds, prune=options.prune,
            name=options.name or "",
        )  # fmt: skip

    if options.around_best:
        earlier = open_sweep(data_dir(), options.around_best)
        record = earlier.record()
        dimensions = narrowed(record, sweep_results(earlier, record))
        record = plan(record.config, dimensions)
    else:
        config, parent, _, text = config_wanted(options)
        if parent:
            raise ConfigError("The runs of a sweep start from scratch. Leave out --from.")
        if not options.vary:
            raise ConfigError("A sweep needs --vary, such as --vary train.learning_rate=1e-4..1e-2")
        record = plan(config, [parse_dimension(each) for each in options.vary])
        check_startable(data_dir(), config, None, text)
        if text and not options.estimate:
            config = config.replace({"data.corpus": save_own_text(options.text, text).name})
            record = record.model_copy(update={"config": config})
    cost = expected_cost(data_dir(), record, check_startable(data_dir(), record.config), at_a_time)
    print_line(f"{cost_in_words(cost)}{', less with pruning' if record.prune else ''}")
    return None if options.estimate else create_sweep(data_dir(), record)


def drive_sweep(sweep: "SweepFolder", supervisor: "Supervisor") -> int:
    """Train a sweep in the foreground, with a line for each run that ends; Ctrl-C stops it."""
    from core.fast.threads import keep_freed_memory
    from core.sweeps.driver import advance, stop_sweep

    keep_freed_memory()
    record = sweep.record()
    print_line(f"Sweep {record.name} ({sweep.id})")
    shown, waits, silence = {*record.ended}, set[str](), ""
    supervisor.start()
    try:
        while (record := advance(sweep, supervisor)).state == "running":
            shown = _print_ended(sweep, record, shown)
            silence = _print_silence(supervisor.engine, silence)
            waits = _print_waits(sweep, record, waits | {silence})
            time.sleep(_LOOK_SECONDS)
        _print_ended(sweep, record, shown)
    except KeyboardInterrupt:
        record = stop_sweep(sweep, supervisor)
        print_line(f"Stopped; its runs save and end. Resume it: python -m core sweep --resume {sweep.id}")
        return 130
    finally:
        supervisor.close()
    if record.reason:
        raise RunError(record.reason)
    if record.state == "stopped":
        print_line(f"Stopped from elsewhere. Resume it: python -m core sweep --resume {sweep.id}")
        return 130
    _print_outcome(sweep, record)
    return 0


def _print_ended(sweep: "SweepFolder", record: "SweepRecord", shown: set[str]) -> set[str]:
    from core.sweeps.results import sweep_results

    if not {*record.ended} - shown:
        return shown
    for point in sweep_results(sweep, record):
        for run in point.runs:
            if run.id in record.ended and run.id not in shown:
                loss = "no loss" if run.loss is None else f"loss {run.loss:.3f}"
                done = f"{len(shown) + 1} of {record.total}"
                print_line(f"{done}: {_values(point)} · {loss} · {run.state} · {duration_in_words(run.seconds)}")
                shown = shown | {run.id}
    return shown


def _print_silence(engine: "Engine", before: str) -> str:
    """Print if a cluster or its object store stops answering or answers again; return the current problem or ""."""
    engine.hosts()
    now = engine.problem or engine.silence
    if now != before:
        print_line(now or "It answers.")
    return now


def _print_waits(sweep: "SweepFolder", record: "SweepRecord", shown: set[str]) -> set[str]:
    """Print why queued runs wait, each reason once, with the first run that has it; return all printed reasons."""
    for run in sweep.runs(record):
        status = run.status()
        if status.state == "queued" and status.notices and status.notices not in shown:
            print_line(f"{run.name}: {status.notices}")
            shown = shown | {status.notices}
    return shown


def _print_outcome(sweep: "SweepFolder", record: "SweepRecord") -> None:
    from core.sweeps.results import best_point, best_run, importances, sweep_results

    results = sweep_results(sweep, record)
    if best := best_point(results):
        spread = "" if best.spread is None else f" ± {best.spread:.3f} over {len(best.losses)} seeds"
        print_line(f"Best: {_values(best)} · loss {best.loss:.3f}{spread}")
        print_line(f"Open it: python -m core show {best_run(best)}")
        print_line(f"Train with it: python -m core train {_as_options(record.config_of(best.values))}")
    for importance in importances(record, results):
        print_line(f"{importance.path} explains {importance.share:.0%} of the differences in loss")


def _as_options(config: RunConfig) -> str:
    """Return the options of `train` for these settings."""
    name = config.preset if config.preset in PRESETS else next(iter(PRESETS))
    return f"--preset {name} {_changes(config, preset(name))}".strip()


def _changes(config: RunConfig, base: RunConfig) -> str:
    """Return the options that change the settings of `base` to those of `config`."""
    return " ".join(f"--set {path}={_plain(value)}" for path, value in differences(config, base).items())


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _values(point: "PointResult") -> str:
    return ", ".join(f"{path.partition('.')[2]} {format_setting(value, path)}" for path, value in point.shown.items())


def find_rate_command(options: argparse.Namespace) -> None:
    """Run a range test; print its losses, the suggested rate, and the rates that change in proportion to it."""
    from core.fast.threads import keep_freed_memory
    from core.interpretability import finish
    from core.sweeps.rate_finder import range_test

    config, parent, _, text = config_wanted(options)
    if parent or text:
        raise ConfigError("A range test trains a new model on a text from the list. Leave out --from and --text.")
    keep_freed_memory()
    test = finish(range_test(config, data_dir()))
    smoothed = test.smoothed
    for place in range(0, len(smoothed), 5):
        print_line(f"{format_rate(test.rates[place]):>8}  {smoothed[place]:.3f}")
    if test.lowest is None:
        raise RunError("The loss never fell in this test, so no rate is suggested. Check the text and the model.")
    print_line(f"Lowest loss at {format_rate(test.lowest)}{', then it diverged' if test.diverged else ''}.")
    print_line(f"Suggested: {_changes(test.settings(config), config)}")


def sweeps_command(options: argparse.Namespace) -> None:
    from core.sweeps.driver import stop_sweep
    from core.sweeps.folder import delete_sweep, open_sweep

    if options.wanted is None:
        _list()
        return
    sweep = open_sweep(data_dir(), options.wanted)
    if options.stop:
        record = stop_sweep(sweep, new_supervisor())
        print_line(f"{record.name} is {record.state}. Resume it: python -m core sweep --resume {sweep.id}")
    elif options.delete:
        name = sweep.record().name
        delete_sweep(sweep)
        print_line(f"{name} is deleted; its runs are kept.")
    else:
        _show_one(sweep, as_json=options.json)


def _list() -> None:
    from core.sweeps.folder import list_sweeps
    from core.sweeps.results import best_point, sweep_results

    table = new_table("name", "state", "runs", "best loss", "varies", "id")
    for sweep in list_sweeps(data_dir()):
        try:
            record = sweep.record()
        except RunError as error:
            print_line(str(error))
            continue
        best = best_point(sweep_results(sweep, record))
        loss = "" if best is None else f"{best.loss:.3f}"
        varied = ", ".join(dimension.path for dimension in record.dimensions)
        done = f"{len(record.ended)} of {record.total}"
        table.add_row(Text(printable(record.name)), record.state, done, loss, varied, sweep.id)
    print_table(table, "There are no sweeps yet. Start one: python -m core sweep --vary train.learning_rate=1e-4..1e-2")


def _show_one(sweep: "SweepFolder", *, as_json: bool) -> None:
    from core.sweeps.results import sweep_results

    record = sweep.record()
    results = sweep_results(sweep, record)
    if as_json:
        points = [{**point._asdict(), "runs": [run._asdict() for run in point.runs]} for point in results]
        print(json.dumps({**record.model_dump(mode="json"), "points": points}, indent=2, ensure_ascii=False))
        return
    state = f"{record.state}, {len(record.ended)} of {record.total} runs"
    print_line(f"{record.name} ({sweep.id}): {state}{f'. {record.reason}' if record.reason else ''}")
    for point in sorted(results, key=lambda each: (each.loss is None, each.loss or 0.0)):
        loss = "–" if point.loss is None else f"{point.loss:.3f}"
        spread = "" if point.spread is None else f" ± {point.spread:.3f}"
        print_line(f"  {point.number}: {_values(point)} · {loss}{spread} · {point.problem or point.state}")
    _print_outcome(sweep, record)
