"""Progress of a run: a bar on a terminal; into a pipe or a file, a line for every evaluation."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from core.runs.folder import RunFolder
from core.runs.records import Status
from core.terminal import SafeStream
from core.text.token_display import printable


class Show:
    """Shows every status of a run, and sentences."""

    def __init__(self, console: Console, bar: Progress | None):
        self._console, self._bar = console, bar
        self._shown: tuple[float | None, ...] = ()
        self._task = bar and bar.add_task("getting ready", total=None)

    def __call__(self, status: Status) -> None:
        if self._bar:
            self._bar.update(self._task, total=status.steps, completed=status.step, description=describe(status))
        elif (shown := (status.train_loss, status.val_loss)) != self._shown:
            self._shown = shown
            self.note(describe(status))

    def note(self, sentence: str) -> None:
        self._console.print(printable(sentence), markup=False, soft_wrap=True)


@contextmanager
def progress(folder: RunFolder) -> Iterator[Show]:
    """Show a run on standard output while it trains: a bar on a terminal, else a line for every evaluation."""
    console = Console(file=SafeStream(sys.stdout), highlight=False)
    console.print(f"Training {escape(printable(folder.name))} ({folder.id})", soft_wrap=True)
    if not console.is_terminal:
        yield Show(console, None)
        return
    columns = (BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as bar:
        yield Show(console, bar)


def describe(status: Status) -> str:
    """Return `step 250 of 1,500 · training 2.01 · validation 2.10 · 41k tokens/s · 0:24 left`."""
    parts = [f"step {status.step:,} of {status.steps:,}"]
    if status.train_loss is not None:
        parts.append(f"training {status.train_loss:.3f}")
    if status.val_loss is not None:
        parts.append(f"validation {status.val_loss:.3f}")
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
