"""What is written about a run: record, status and commands; the names of runs; and what follows a worker's death."""

import platform
import re
import unicodedata
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from core.atomic_io import parse_row
from core.config import RunConfig
from core.errors import ConfigError, Problem, RunError
from core.runs.processes import ProcessId, Started, is_alive, is_locked
from core.text.token_display import JOINERS
from core.training.pace import Pace

State = Literal["queued", "starting", "running", "paused", "finished", "stopped", "failed"]
ENDED: tuple[State, ...] = ("finished", "stopped", "failed")
PROBLEM_PARTS = ("question", "answer", "written")  # texts; the question ends with its separator
# Of an evaluation, in rows of metrics and in the status.
SCORES = ("train_loss", "val_loss", "val_bits_per_byte", "train_accuracy", "val_accuracy")

NAME_LENGTH = 80

_ADJECTIVES = (
    "agile amber ample bold brave breezy bright brisk calm candid cheerful clever cosy crisp curious dapper daring "
    "deft eager earnest easy fair fancy fleet fond frank fresh gentle glad golden graceful happy hardy honest humble "
    "jolly keen kind lively loyal lucid lucky merry mellow modest neat nimble noble patient placid plucky polite "
    "proud quick quiet rapid ready serene silver steady sunny swift tidy witty"
)
_ANIMALS = (
    "badger beaver bison bobcat camel canary cheetah crane cricket dolphin donkey dove eagle egret falcon ferret "
    "finch firefly fox gecko gibbon goose hare hedgehog heron ibis jackdaw jay kestrel kingfisher koala lark lemur "
    "linnet lynx magpie marmot marten mole moose narwhal newt ocelot octopus orca otter owl panda parrot pelican "
    "pigeon plover puffin quail rabbit raven robin salmon seal sparrow squirrel swallow swan tapir tern toucan "
    "turtle wombat wren yak zebra"
)
# In a row, without a save in between: more attempts would end the same way.
MOST_CRASHES = 3  # of the process by itself
MOST_KILLS = 10  # from outside: by its user, or by the machine
_CRASH = "Fatal Python error"  # how the output of Python's faulthandler begins, which every worker has
_WILL_RESUME, _RESUMED = "it goes on by itself from", "it went on by itself from"
# How Python introduces the frames of a traceback or of a crash.
_UNINFORMATIVE = ("Traceback (most recent", "Current thread 0x", "Thread 0x", "Extension modules:")


class RunRecord(BaseModel):
    """What a run is (`run.json`). Its first worker fills in text, versions and machine; users change the name."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str  # a label, never a path
    created: str  # ISO 8601, UTC
    config: RunConfig
    owner: str | None = None
    parent: str | None = None  # id of the run whose settings or weights this one started from
    parent_step: int | None = None  # of the parent's weights that this one started from, if it did
    origin: str | None = None  # where an imported model comes from, in words
    former_name: str = ""  # before somebody other than its owner renamed it
    sweep: str = ""  # the id of the sweep that made it (`core.sweeps`)
    changed_by: str = ""  # who renamed or deleted it last, where that was not its owner
    corpus_hash: str | None = None  # sha256 of the text; known once a worker has begun
    versions: dict[str, str] = {}
    hardware: str | None = None  # in words; known once a worker has begun
    # What decides the last digits of every number: set by the first worker, kept by all later ones.
    machine: str | None = None  # name of its processor or graphics card
    threads: int | None = None
    precision: str | None = None  # float32 or bfloat16

    def same_text(self, other: Self) -> bool:
        """Return whether another run learns from the very same text, so that their losses compare."""
        if self.corpus_hash and other.corpus_hash:
            return self.corpus_hash == other.corpus_hash
        return self.config.data.corpus == other.config.data.corpus


FILLED_IN = ("corpus_hash", "versions", "hardware", "machine", "threads", "precision")  # of a record, by workers


class Status(BaseModel):
    """The state of a run (`status.json`)."""

    model_config = ConfigDict(frozen=True)

    state: State
    step: int = 0  # steps done
    steps: int = 0  # steps asked for
    pid: int | None = None  # the worker's, while there is one
    pid_started: Started | None = None  # when that process began (`ProcessId`): a pid alone may be reused
    host: str = ""  # of a cluster, on which the worker is; its pid is 0 until it has begun
    attempt: int = 0  # how often a worker has begun on this run
    reason: str = ""  # a sentence: why it failed, stopped or waits
    notice: str = ""  # sentences for the page while it goes on: what happened to it
    waits_for: str = ""  # a sentence, while it waits
    problem: Problem = ""  # what is wrong, where a page offers more than a sentence
    # Of workers in a row, with no new checkpoint in between; the first release called them deaths.
    crashes: int = Field(0, validation_alias=AliasChoices("crashes", "deaths"))
    oom_kills: dict[str, int] = {}  # the system's counts of processes killed for memory, by file
    seconds: float = 0.0  # spent training, pauses left out
    tokens_per_second: float | None = None
    train_loss: float | None = None  # nats a token
    val_loss: float | None = None  # nats a token
    val_bits_per_byte: float | None = None
    train_accuracy: float | None = None  # share of a task's problems answered right; None of a text without a task
    val_accuracy: float | None = None
    seconds_left: float | None = None
    pace: Pace | None = None  # what its last steps took; None before there were enough of them
    slowest: float = 0.0  # seconds, the longest between two looks for commands
    updated: float = 0.0  # seconds since 1970

    @property
    def ended(self) -> bool:
        """Whether nothing more will come unless someone resumes it."""
        return self.state in ENDED

    @property
    def notices(self) -> str:
        """What happened to it, and what it waits for; empty where there is nothing to say."""
        return f"{self.notice} {self.waits_for}".strip()

    @property
    def process(self) -> ProcessId:
        """The worker's; only where there is a pid."""
        assert self.pid is not None
        return ProcessId(self.pid, self.pid_started or 0.0)

    def has_worker(self, lock_path: Path) -> bool:
        """Return whether the worker lives, or is about to; on another host, it holds the lock of its run."""
        if self.host:
            return self.pid == 0 or is_locked(lock_path)
        return self.pid is not None and is_alive(self.process)

    def without_process(self, **changes: Any) -> "Status":
        """Return this status, with some changes, for a run that has no worker."""
        gone = {"pid": None, "pid_started": None, "host": "", "seconds_left": None, "waits_for": ""}
        return self.model_copy(update=gone | changes)

    def end(self, state: State, reason: str = "", problem: Problem = "", notice: str = "") -> "Status":
        """Return the status of this run after its end."""
        return self.without_process(state=state, reason=reason, problem=problem, notice=notice)


class Command(NamedTuple):
    """A command to a worker: `pause`, `resume`, `step`, `stop` or `turn` (a setting change), with its arguments."""

    name: str
    args: dict[str, Any]
    id: str  # no two are alike


class StepDetail(BaseModel):
    """The detail of one step (`closeup.json`): windows of its batch with losses, and norms by part of the model."""

    model_config = ConfigDict(frozen=True)

    step: int
    loss: float | None  # nats a token, over the whole batch; None where it is not finite
    batch_size: int  # windows in the whole batch
    inputs: list[list[int]]  # token ids, the first windows of the batch
    targets: list[list[int]]
    losses: list[list[float | None]]  # nats, of the same tokens; 0 where they do not count
    counted: list[list[bool]] = []  # whether they count in the loss: in a task, only answers do; none where all do
    gradient_norms: dict[str, float | None]  # by part of the model (`wte`, `h.0.attn`, ...), before clipping
    weight_norms: dict[str, float | None]  # before the step
    before: float | None = None  # nats a token over the whole batch, without dropout, before the step; None if unknown
    after: float | None = None  # the same after it


MOST_EMBEDDINGS = 1000  # in a probe, those of the tokens that come first: a map of more is a cloud


class Probe(NamedTuple):
    """What the dashboard draws of the model at one step."""

    step: int
    attention: np.ndarray  # uint8 (L, H, T, T), 255 is all of a row's attention; L = H = 0 for a bigram
    embedding: np.ndarray  # float16 (min(V, MOST_EMBEDDINGS), C)
    tokens: list[str]  # the T tokens of the probe sentence


def is_problem(value: object) -> bool:
    """Return whether a value is one of the `problems` of a row of samples.jsonl."""
    return isinstance(value, dict) and all(isinstance(value.get(part), str) for part in PROBLEM_PARTS)


def parse_object(data: bytes, name: str, where: str) -> dict[str, Any]:
    """Return the JSON object in a file; raises RunError, as the next two, where it is damaged."""
    if (row := parse_row(data)) is None:
        raise RunError(f"The file {name} {where} is damaged: it ends too early or is not JSON.")
    return row


def parse_record(data: dict[str, Any], where: str) -> RunRecord:
    """Return what `run.json` holds."""
    if not isinstance(data.get("config"), dict):
        raise RunError(f"The file run.json {where} is damaged: config is missing or wrong.")
    try:
        return RunRecord.model_validate(data | {"config": RunConfig.parse(data["config"])})
    except ConfigError as error:
        raise RunError(f"The settings in run.json {where} cannot be used: {error}") from None
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise RunError(f"The file run.json {where} is damaged: {field} is missing or wrong.") from None


def parse_status(data: dict[str, Any], where: str) -> Status:
    """Return what `status.json` holds."""
    try:
        return Status.model_validate(data)
    except ValidationError:
        raise RunError(f"The file status.json {where} is damaged.") from None


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that decide a run's numbers."""
    return {"python": platform.python_version()} | {
        name: metadata.version(name) for name in ("torch", "numpy", "safetensors")
    }


def friendly_name(seed: bytes) -> str:
    """Return a name such as `patient-otter`; the same bytes (at least four) give the same name."""
    adjectives, animals = _ADJECTIVES.split(), _ANIMALS.split()
    number, animal = divmod(int.from_bytes(seed, "big"), len(animals))
    return f"{adjectives[number % len(adjectives)]}-{animals[animal]}"


def clean_name(name: str) -> str:
    """Return a label fit to show: without control and direction-changing characters, at most 80 characters.

    The result is a label and nothing else; it is never part of a path. Raises RunError where nothing is left.
    """
    shown = "".join(
        " " if character.isspace() else character
        for character in name
        if character.isspace() or character in JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs")
    )
    cleaned = " ".join(shown.split())[:NAME_LENGTH].strip(JOINERS + " ")
    if not cleaned:
        raise RunError("A run's name needs at least one character that can be seen.")
    return cleaned


def plain_name(name: str) -> str:
    """Return a name as a part of a file's name that every system takes: letters, digits and hyphens."""
    return re.sub(r"[^\w-]+", "-", name, flags=re.ASCII).strip("-")[:60] or "run"


def after_crash(status: Status, log_lines: str, saved_step: int) -> Status:
    """Return the status of a run whose worker left this one behind and has died.

    It is queued, to go on from its newest checkpoint (`saved_step`, -1 if it has none); or paused as before; or failed.
    """
    from core.training.hardware import killed_for_memory  # imports torch, which a list of runs does not need

    on_this_machine, status = not status.host, status.without_process()
    if status.state == "paused" and not status.problem:
        return status
    start = f"step {saved_step:,}" if saved_step >= 0 else "the beginning"
    if on_this_machine and killed_for_memory(status.oom_kills):
        reason = (
            f"The system ended its process at step {status.step:,} because the machine had no memory left. Choose a "
            f"smaller batch, context or model. Resumed, it goes on from {start}."
        )
        return status.end("failed", reason, "memory")
    crashes = status.crashes + 1
    if crashes < (MOST_CRASHES if _CRASH in log_lines else MOST_KILLS):
        notice = f"Its process was ended at step {status.step:,}; {_WILL_RESUME} {start}."
        return status.without_process(state="queued", reason="", notice=notice, problem="", crashes=crashes)
    reason = f"Its process ended {crashes} times without a save in between."
    reason += f" Its last log lines: {log_lines}" if log_lines else " Its log gives no reason."
    return status.end("failed", reason).model_copy(update={"crashes": crashes})


def after_resume(notice: str) -> str:
    """Return the notice of a crash as it reads once another worker has the run."""
    return notice.replace(_WILL_RESUME, _RESUMED)


def without_crash(notice: str) -> str:
    """Return a notice without the sentence on a crash that another worker has made up for."""
    return re.sub(rf"Its process was ended at step [0-9,]+; {_RESUMED} [^.]*\. ?", "", notice).strip()


def stopped_in_words(by: str, step: int | None) -> str:
    """Return the reason of a run that was stopped, by its owner where nobody is named; step None before it began."""
    if step is None:
        return f"Stopped{f' by {by}' if by else ''} before a worker had taken it up."
    return f"Stopped by {by or 'hand'} at step {step:,}."


def last_log_lines(path: Path, lines: int = 3) -> str:
    """Return the last informative lines of a worker's log, without the (indented) frames of a traceback."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 20_000))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    printed = [line.rstrip() for line in text.splitlines() if re.match(r"\S", line) and re.search(r"\w", line)]
    informative = [line for line in printed if not line.startswith(_UNINFORMATIVE)]
    return "\n".join(line[:300] for line in informative[-lines:])
