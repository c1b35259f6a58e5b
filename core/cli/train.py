"""`train`, `resume` and `estimate`: train a run in this process and show its progress, or estimate its cost.

Progress is a bar on a terminal; in a pipe or a file it is a line for every evaluation.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TextIO, cast, get_args

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from core.cli.arguments import add_config_options, add_run, add_track, config_wanted, find_run, save_own_text
from core.config import SETTINGS, RunConfig, TrainConfig
from core.errors import ConfigError, RunError
from core.formatting import duration_in_words, format_rate, memory_in_words, whole_number
from core.live_settings import STEPS
from core.paths import check_path, data_dir
from core.runs.commands import Schedule, change_settings, extend, send_command
from core.runs.folder import RunFolder
from core.runs.processes import not_ignored
from core.runs.records import SCORES, Status
from core.terminal import SafeStream, print_line
from core.text.token_display import printable
from core.text.tokenizers import OnProgress
from core.training.timed_recipe import expected_loss

if TYPE_CHECKING:
    from core.runs.worker import StopRequest

_MAX_TOKENS = 1_000_000  # limit of `estimate --tokens`


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    devices = SETTINGS["train.device"]
    train = commands.add_parser("train", help="train a model", description="Train a model on a text.")
    add_config_options(train)
    train.add_argument("--name", help="a label for the run (default: one is made up)")
    train.add_argument("--out", type=Path, metavar="DIR", help="where to put the run's folder (default: the home)")
    add_track(train)
    train.add_argument("--dump-config", action="store_true", help="write the settings as JSON and train nothing")
    train.set_defaults(run=train_command)

    parser = commands.add_parser(
        "estimate",
        help="estimate the cost of a run",
        description="Estimate the memory and time of a run after a short trial of its training. The trial is "
        "saved, and the page Train uses it too.",
    )
    add_config_options(parser)
    parser.add_argument("--settings", action="store_true", help="read all settings as JSON from standard input instead")
    parser.add_argument(
        "--tokens", type=int, metavar="N", help="size of the vocabulary (default: that of the chosen "
        "tokenizer, or of the parent's)",
    )  # fmt: skip
    parser.set_defaults(run=estimate_command)

    resume = commands.add_parser("resume", help="resume a run", description="Resume a run from its last save.")
    add_run(resume)
    resume.add_argument(
        "--steps",
        metavar="N",
        help="the step to end at, or with a plus (+500) the number of additional steps, also for a finished run "
        "(default: its present end)",
    )
    resume.add_argument(
        "--schedule",
        choices=get_args(Schedule),
        help="the learning rate of additional steps (--steps +N): restart warms up and decays again; stay (the "
        "default) keeps the schedule, and its last value after its end",
    )
    resume.add_argument("--device", help=f"{devices.help} One of {', '.join(devices.choices)} (default: the run's)")
    add_track(resume)
    resume.set_defaults(run=resume_command)

    worker = commands.add_parser("worker")  # started by the app, not by users
    worker.add_argument("run_id", nargs="?")
    worker.add_argument("--forks", action="store_true")
    worker.add_argument("--follow", type=Path)
    worker.add_argument("--ray")
    worker.add_argument("--storage", default="")
    worker.add_argument("--attempt")
    worker.add_argument("--rank", type=int)
    worker.add_argument("--size", type=int)
    worker.set_defaults(run=worker_command)


def train_command(options: argparse.Namespace) -> int | None:
    """Create a run and train it; if it cannot be trained, raises ExplorerError before anything is written."""
    from core.import_export.trackers import choose_trackers
    from core.runs.ancestry import check_startable, fork, new_run
    from core.text.corpora import load_corpus
    from core.training.schedule import schedule_notice

    if inside := options.out and options.out.absolute():
        check_path(inside)
    choose_trackers(options.track)
    config, parent, step, text = config_wanted(options)
    if count := processes_of_torchrun():
        config = config.replace({"train.processes": count})
    if options.dump_config:
        print(config.to_json())
        return None
    with _tokenizing() as report:
        vocab_size = check_startable(data_dir(), config, parent, text, report)
    _check_fits(config, vocab_size, len(text or load_corpus(config.data.corpus, data_dir())))
    if text:
        config = config.replace({"data.corpus": save_own_text(options.text, text).name})
    if notice := schedule_notice(config.train):
        print(notice[0].format(**notice[1]), file=SafeStream(sys.stdout))
    if parent:
        return _train(fork(data_dir(), parent, step, config, options.name, inside=inside))
    if expected := expected_loss(config):
        print(f"Expected validation loss: {expected:.2f} nats/token.")
    return _train(new_run(data_dir(), config, options.name, inside=inside))


def processes_of_torchrun() -> int:
    """Return how many processes torchrun has started, including this one; 0 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "0")) if "TORCHELASTIC_RUN_ID" in os.environ else 0


def resume_command(options: argparse.Namespace) -> int:
    from core.import_export.trackers import choose_trackers

    choose_trackers(options.track)
    folder = find_run(options.wanted, data_dir())
    count, processes = processes_of_torchrun(), folder.record().config.train.processes
    if count and count != processes:
        raise ConfigError(
            f"The run {folder.name!r} trains in {processes} processes, and torchrun has started {count}. Resume it "
            "without torchrun: it starts as many as it needs."
        )
    if options.steps is None and not options.schedule and _let_go_on(folder):
        return 0
    if options.steps is not None:
        _move_end(folder, options.steps, options.schedule)
    elif options.schedule:
        raise ConfigError("--schedule is for additional steps. Add how many, such as --steps +500.")
    return _train(folder, options.device, drop_stale=True)


def _let_go_on(folder: RunFolder) -> bool:
    """Resume a paused run in its own process; returns whether there is one."""
    from core.runs.queue import existing_supervisor_lock

    with existing_supervisor_lock(folder.path.parent):
        status = folder.status()
        if status.state != "paused" or status.pid is None:
            return False
        send_command(folder, "resume")
    print_line(f"{folder.name} continues at step {status.step:,}, in the process in which it was paused.")
    return True


def _move_end(folder: RunFolder, steps: str, schedule: Schedule | None) -> None:
    """Change the last step to `4000` or by `+500`, and print how the learning rate changes until then."""
    from core.runs.queue import existing_supervisor_lock

    number = whole_number(steps.removeprefix("+"))
    if number is None:
        raise ConfigError(
            f"--steps needs a step to end at, such as 4000, or how many more, such as +500, not {steps!r}."
        )
    with existing_supervisor_lock(folder.path.parent):
        status = folder.status()
        if status.pid is not None:
            change = f"python -m core set {folder.id} steps=4000"
            if status.state == "paused":
                raise RunError(
                    f"The run {folder.name!r} is paused at step {status.step:,}. Change its end with {change}, then "
                    f"resume it with python -m core resume {folder.id}"
                )
            raise RunError(f"The run {folder.name!r} is being trained. Change its end: {change}")
        more = number if steps.startswith("+") else number - folder.status().step
        if steps.startswith("+") or (schedule == "restart" and more > 0):
            config = extend(folder, more, schedule or "stay")
        else:
            config = change_settings(folder, (STEPS, number))
    if said := _rates_in_words(config.train, config.train.steps - more):
        print(said, file=SafeStream(sys.stdout))


def _rates_in_words(config: TrainConfig, step: int) -> str:
    """Describe the learning rate from a step on; returns "" if its schedule simply ends at the last step."""
    from core.training.schedule import learning_rate_at

    highest = format_rate(config.learning_rate)
    lowest = format_rate(min(config.learning_rate, config.min_learning_rate))
    end = max(config.decay_steps or config.steps, config.schedule_start + config.warmup_steps)
    if config.schedule == "constant":
        return ""
    if config.schedule_start == step < end:
        warmup = f"warms up over {config.warmup_steps:,} steps, then " if config.warmup_steps else ""
        return f"The learning rate {warmup}decays from {highest} to {lowest} until step {end:,}."
    if end >= config.steps:
        return ""
    if step < end:
        return f"The learning rate follows its schedule until step {end:,}, then stays at {lowest}."
    rate = format_rate(learning_rate_at(step, config))
    return f"The learning rate stays at {rate}, where its schedule ended. --schedule restart warms up and decays again."


def _train(folder: RunFolder, device: str | None = None, *, drop_stale: bool = False) -> int:
    from core.fast.threads import keep_freed_memory
    from core.runs.documents import outcome_in_words
    from core.runs.worker import StopRequest, train_run
    from core.training.data_parallel import ProcessLost

    keep_freed_memory()
    in_data_dir = folder.path.parent == data_dir() / "runs"
    meant, stop = folder.id if in_data_dir else str(folder.path), StopRequest()
    with progress(folder) as show, _stop_by_signal(stop, show.note), _taking_a_slot(folder if in_data_dir else None):
        if folder.path.is_symlink():
            show.note(f"Its folder is {folder.path.resolve()}.")
        how = {"device": device, "on_status": show, "drop_stale": drop_stale, "stop_request": stop}
        try:
            status = train_run(folder, data_dir(), **how)
        except ProcessLost as error:  # without an app, no supervisor resumes the run
            status = folder.write_status(folder.status().end("stopped", f"{error} Its last save is kept."))
    show.note(status.reason or f"The run is {status.state}.")
    for sentence in outcome_in_words(folder):
        show.note(sentence)
    if status.state == "finished":
        show.note(f"Generate text: python -m core generate {meant}")
        return 0
    show.note(f"Resume it: python -m core resume {meant}")
    return 130


@contextmanager
def _taking_a_slot(folder: RunFolder | None) -> Iterator[None]:
    """Claim a slot, even if none is free, so that an app starts no other run, and resumes this one if it is killed."""
    from core.runs.queue import Queue

    if folder is None:
        yield
        return
    with suppress(RunError):  # a damaged queue is no reason not to train
        Queue(data_dir()).claim_for_shell(folder.id)
    try:
        yield
    finally:
        with suppress(RunError):
            Queue(data_dir()).release_from_shell(folder.id)


@contextmanager
def _stop_by_signal(request: "StopRequest", note: Callable[[str], None]) -> Iterator[None]:
    """Save and stop at the first Ctrl-C or hangup, exit at once at the second; ignored signals stay ignored."""

    def stop(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, before[signal.Signals(number)])
        request.reason = "Stopped from the shell."
        note("Saving; press Ctrl-C again to stop without saving.")

    handled = not_ignored(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_fits(config: RunConfig, vocab_size: int, text_length: int) -> None:
    from core.runs.machine import run_precision, threads_for_run, threads_per_run
    from core.training.cost import check_fits, memory_needed
    from core.training.hardware import find_hardware

    hardware = find_hardware(config.train.device)
    precision = run_precision(config, hardware, threads_for_run(config, threads_per_run()), data_dir()).precision
    needed = memory_needed(config, vocab_size, precision, text_length)
    check_fits(needed, hardware, processes=config.train.processes)


def estimate_command(options: argparse.Namespace) -> None:
    from core.fast.threads import keep_freed_memory
    from core.runs.ancestry import check_startable
    from core.runs.machine import estimate_run, run_precision, run_trial, threads_for_run, threads_per_run
    from core.text.corpora import load_corpus
    from core.training.hardware import find_hardware

    tokens = options.tokens
    if tokens is not None and not 2 <= tokens <= _MAX_TOKENS:
        raise ConfigError(f"--tokens cannot be {tokens}: it must be a whole number from 2 to {_MAX_TOKENS:,}.")
    read = (RunConfig.parse(sys.stdin.read()), None, None, None) if options.settings else None
    config, parent, _, text = read or config_wanted(options)
    if tokens is None:
        with _tokenizing() as report:
            tokens = check_startable(data_dir(), config, parent, text, report)
    length = 0 if options.settings else len(text or load_corpus(config.data.corpus, data_dir()))
    hardware = find_hardware(config.train.device)
    keep_freed_memory()  # as a worker does
    count = threads_for_run(config, threads_per_run())
    correction = run_trial(config, tokens, hardware, count, data_dir())
    choice = run_precision(config, hardware, count, data_dir())
    figures = estimate_run(config, tokens, data_dir(), length, correction)
    print(f"{figures.parameters:,} parameters")
    print(f"{memory_in_words(figures.memory_bytes)} of memory while it trains, on top of what Python and torch need")
    print(f"about {duration_in_words(figures.seconds)} for {config.train.steps:,} steps")
    print(f"computed in {choice.sentence}")


def worker_command(options: argparse.Namespace) -> int:
    from core.cli.worker import serve_forks, work

    if options.forks:
        return serve_forks()
    if options.ray:
        from core.runs.engines.ray_broker import serve_ray

        return serve_ray(options.ray, data_dir(), options.storage)
    if options.follow:
        from core.runs.followers import follow_file

        return follow_file(options.follow, options.rank, options.size)
    if not options.run_id:
        raise RunError("A worker needs the id of its run, or --forks.")
    if options.storage:
        from core.runs.engines.remote_run import HostCopy

        return HostCopy(options.storage, options.run_id, options.attempt).train()
    return work(options.run_id)


@contextmanager
def _tokenizing() -> Iterator[OnProgress]:
    """Show a bar on a terminal while a tokenizer is trained, which takes seconds for a few megabytes."""
    console = Console(file=cast(TextIO, SafeStream(sys.stdout)))
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Training the tokenizer, only once", total=1.0, visible=False)
        yield lambda share: bar.update(task, completed=share, visible=True)


class StatusPrinter:
    """Printer of a run's statuses and other messages."""

    def __init__(self, console: Console, bar: Progress | None):
        self._console, self._bar = console, bar
        self._shown: tuple[float | None, ...] = ()
        self._task = bar.add_task("getting ready", total=None) if bar else None

    def __call__(self, status: Status) -> None:
        if self._bar and self._task is not None:
            self._bar.update(self._task, total=status.steps, completed=status.step, description=describe_status(status))
        elif (shown := tuple(getattr(status, name) for name in SCORES)) != self._shown:
            self._shown = shown
            self.note(describe_status(status))

    def note(self, sentence: str) -> None:
        self._console.print(printable(sentence), markup=False, soft_wrap=True)


@contextmanager
def progress(folder: RunFolder) -> Iterator[StatusPrinter]:
    """Show the progress of a run on standard output: a bar on a terminal, else a line for every evaluation."""
    console = Console(file=cast(TextIO, SafeStream(sys.stdout)), highlight=False)
    console.print(f"Training {escape(printable(folder.name))} ({folder.id})", soft_wrap=True)
    if not console.is_terminal:
        yield StatusPrinter(console, None)
        return
    columns = (BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as bar:
        yield StatusPrinter(console, bar)


def describe_status(status: Status) -> str:
    """Return `step 250 of 1,500 · training 2.01 · validation 2.10 · 41k tokens/s · 0:24 left`."""
    parts = [f"step {status.step:,} of {status.steps:,}"]
    if status.train_loss is not None:
        parts.append(f"training {status.train_loss:.3f}")
    if status.val_loss is not None:
        parts.append(f"validation {status.val_loss:.3f}")
    if status.val_accuracy is not None:
        parts.append(f"right {status.val_accuracy:.1%}")
    if status.tokens_per_second:
        parts.append(f"{status.tokens_per_second:,.0f} tokens/s")
    if status.state == "paused":
        parts.append("paused")
    elif status.seconds_left is not None:
        parts.append(f"{duration(status.seconds_left)} left")
    return " · ".join(parts)


def duration(seconds: float) -> str:
    """Return `0:41`, `12:05`, `3:00:12`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
