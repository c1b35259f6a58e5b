"""Data about a run: record, status and commands; names of runs; and the status after a worker's crash."""

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
# Results of an evaluation, in rows of metrics and in the status.
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
# Limits in a row, without a save in between: more attempts would end the same way.
MAX_CRASHES = 3  # crashes of the process itself
MAX_KILLS = 10  # kills from outside, by the user or the system
_CRASH = "Fatal Python error"  # first words of faulthandler's output, which every worker enables
_WILL_RESUME, _RESUMED = "it resumes automatically from", "it resumed automatically from"
# Lines with which Python introduces the frames of a traceback or a crash.
_UNINFORMATIVE = ("Traceback (most recent", "Current thread 0x", "Thread 0x", "Extension modules:")


class RunRecord(BaseModel):
    """A run's record (`run.json`). Its first worker fills in text, versions and machine; users change the name."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str  # a label, never a path
    created: str  # ISO 8601, UTC
    config: RunConfig
    owner: str | None = None
    parent: str | None = None  # id of the run whose settings or weights this one started from
    parent_step: int | None = None  # step of the parent's weights that this run started from, if it did
    origin: str | None = None  # where an imported model comes from, in words
    former_name: str = ""  # before somebody other than its owner renamed it
    sweep: str = ""  # the id of the sweep that created it (`core.sweeps`)
    changed_by: str = ""  # who last renamed or deleted it, if not its owner
    corpus_hash: str | None = None  # sha256 of the text; known once a worker has started
    versions: dict[str, str] = {}
    hardware: str | None = None  # in words; known once a worker has started
    # These decide the last digits of all numbers: set by the first worker, kept by all later ones.
    machine: str | None = None  # name of its CPU or GPU
    threads: int | None = None
    precision: str | None = None  # float32 or bfloat16

    def same_text(self, other: Self) -> bool:
        """Return whether another run trains on the same text, so that their losses are comparable."""
        if self.corpus_hash and other.corpus_hash:
            return self.corpus_hash == other.corpus_hash
        return self.config.data.corpus == other.config.data.corpus


FILLED_IN = ("corpus_hash", "versions", "hardware", "machine", "threads", "precision")  # by workers


class Status(BaseModel):
    """The state of a run (`status.json`)."""

    model_config = ConfigDict(frozen=True)

    state: State
    step: int = 0  # steps done
    steps: int = 0  # steps requested
    pid: int | None = None  # the worker's, while there is one
    pid_started: Started | None = None  # when that process started (`ProcessId`), because pids are reused
    host: str = ""  # the cluster host of the worker, whose pid is 0 until it has started
    attempt: int = 0  # how many workers have started on this run
    reason: str = ""  # a sentence: why it failed, stopped or waits
    notice: str = ""  # sentences for the page about what happened to a run that continues
    waits_for: str = ""  # a sentence, while it waits
    problem: Problem = ""  # set if a page offers help besides a sentence
    # Crashes of workers in a row, with no new checkpoint in between; the first release called them deaths.
    crashes: int = Field(0, validation_alias=AliasChoices("crashes", "deaths"))
    oom_kills: dict[str, int] = {}  # the system's counts of processes killed for memory, by file
    seconds: float = 0.0  # spent training, without pauses
    waited: float = 0.0  # the part of them in which training steps waited for other programs
    tokens_per_second: float | None = None
    train_loss: float | None = None  # nats a token
    val_loss: float | None = None  # nats a token
    val_bits_per_byte: float | None = None
    train_accuracy: float | None = None  # share of a task's problems answered correctly; None without a task
    val_accuracy: float | None = None
    seconds_left: float | None = None
    pace: Pace | None = None  # speed of the last steps; None before there are enough of them
    slowest: float = 0.0  # seconds, the longest time between two checks for commands
    updated: float = 0.0  # seconds since 1970

    @property
    def ended(self) -> bool:
        """Whether the run has ended; only resuming continues it."""
        return self.state in ENDED

    @property
    def slowdown(self) -> float:
        """Duration of the run so far relative to that without other programs."""
        return self.seconds / max(1e-9, self.seconds - self.waited) if self.seconds else 1.0

    @property
    def notices(self) -> str:
        """What happened to the run, and what it waits for; may be empty."""
        return f"{self.notice} {self.waits_for}".strip()

    @property
    def process(self) -> ProcessId:
        """The worker's process id; only valid if there is a pid."""
        assert self.pid is not None
        return ProcessId(self.pid, self.pid_started or 0.0)

    def has_worker(self, lock_path: Path) -> bool:
        """Return whether the worker is alive or about to start; on another host, whether the run is locked."""
        if self.host:
            return self.pid == 0 or is_locked(lock_path)
        return self.pid is not None and is_alive(self.process)

    def without_process(self, **changes: Any) -> "Status":
        """Return this status without a worker, with some changes."""
        gone = {"pid": None, "pid_started": None, "host": "", "seconds_left": None, "waits_for": ""}
        return self.model_copy(update=gone | changes)

    def end(self, state: State, reason: str = "", problem: Problem = "", notice: str = "") -> "Status":
        """Return this status as that of an ended run."""
        return self.without_process(state=state, reason=reason, problem=problem, notice=notice)


class Command(NamedTuple):
    """A command to a worker: `pause`, `resume`, `step`, `stop` or `turn` (a setting change), with its arguments."""

    name: str
    args: dict[str, Any]
    id: str  # unique


class StepDetail(BaseModel):
    """Details of one step (`closeup.json`): windows of its batch with losses, and norms by part of the model."""

    model_config = ConfigDict(frozen=True)

    step: int
    loss: float | None  # nats a token, over the whole batch; None if it is not finite
    batch_size: int  # windows in the whole batch
    inputs: list[list[int]]  # token ids, the first windows of the batch
    targets: list[list[int]]
    losses: list[list[float | None]]  # nats, for the same tokens; 0 if a token does not count
    counted: list[list[bool]] = []  # whether a token counts in the loss (in a task only answers); empty if all count
    gradient_norms: dict[str, float | None]  # by part of the model (`wte`, `h.0.attn`, ...), before clipping
    weight_norms: dict[str, float | None]  # before the step
    before: float | None = None  # nats a token over the whole batch, without dropout, before the step; None if unknown
    after: float | None = None  # the same after the step


MAX_EMBEDDINGS = 1000  # in a probe, of the first tokens; a map of more would be unreadable


class Probe(NamedTuple):
    """The model's attention and embeddings at one step, for the dashboard."""

    step: int
    attention: np.ndarray  # uint8 (L, H, T, T), 255 is all of a row's attention; L = H = 0 for a bigram
    embedding: np.ndarray  # float16 (min(V, MAX_EMBEDDINGS), C)
    tokens: list[str]  # the T tokens of the probe sentence


def is_problem(value: object) -> bool:
    """Return whether a value is one of the `problems` of a row of samples.jsonl."""
    return isinstance(value, dict) and all(isinstance(value.get(part), str) for part in PROBLEM_PARTS)


def parse_object(data: bytes, name: str, where: str) -> dict[str, Any]:
    """Return the JSON object in a file; raises RunError if it is damaged, like the next two functions."""
    if (row := parse_row(data)) is None:
        raise RunError(f"The file {name} {where} is damaged: it ends too early or is not JSON.")
    return row


def parse_record(data: dict[str, Any], where: str) -> RunRecord:
    """Return the record in the content of `run.json`."""
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
    """Return the status in the content of `status.json`."""
    try:
        return Status.model_validate(data)
    except ValidationError:
        raise RunError(f"The file status.json {where} is damaged.") from None


def library_versions() -> dict[str, str]:
    """Return the versions of Python and the libraries that affect a run's numbers."""
    return {"python": platform.python_version()} | {
        name: metadata.version(name) for name in ("torch", "numpy", "safetensors")
    }


def friendly_name(seed: bytes) -> str:
    """Return a name such as `patient-otter`; the same bytes (at least four) give the same name."""
    adjectives, animals = _ADJECTIVES.split(), _ANIMALS.split()
    number, animal = divmod(int.from_bytes(seed, "big"), len(animals))
    return f"{adjectives[number % len(adjectives)]}-{animals[animal]}"


def clean_name(name: str) -> str:
    """Return a displayable label: without control and direction-changing characters, at most 80 characters.

    The result is only a label and never part of a path. Raises RunError if nothing is left.
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
    """Return a name as part of a file name that is valid on every system: letters, digits, hyphens, underscores."""
    return re.sub(r"[^\w-]+", "-", name, flags=re.ASCII).strip("-")[:60] or "run"


def after_crash(status: Status, log_lines: str, saved_step: int) -> Status:
    """Return the new status of a run whose worker has died, given the last one that the worker wrote.

    It is queued, to continue from its newest checkpoint (`saved_step`, -1 if none); or paused as before; or failed.
    """
    from core.training.hardware import killed_for_memory  # imports torch, which a list of runs does not need

    on_this_machine, status = not status.host, status.without_process()
    if status.state == "paused" and not status.problem:
        return status
    start = f"step {saved_step:,}" if saved_step >= 0 else "the beginning"
    if on_this_machine and killed_for_memory(status.oom_kills):
        reason = (
            f"The system ended its process at step {status.step:,} because the machine had no memory left. Choose a "
            f"smaller batch, context or model. When resumed, it continues from {start}."
        )
        return status.end("failed", reason, "memory")
    crashes = status.crashes + 1
    if crashes < (MAX_CRASHES if _CRASH in log_lines else MAX_KILLS):
        notice = f"Its process was ended at step {status.step:,}; {_WILL_RESUME} {start}."
        return status.without_process(state="queued", reason="", notice=notice, problem="", crashes=crashes)
    reason = f"Its process ended {crashes} times without a save in between."
    reason += f" Its last log lines: {log_lines}" if log_lines else " Its log gives no reason."
    return status.end("failed", reason).model_copy(update={"crashes": crashes})


def after_resume(notice: str) -> str:
    """Return the notice of a crash in the past tense, for a run that another worker continues."""
    return notice.replace(_WILL_RESUME, _RESUMED)


def without_crash(notice: str) -> str:
    """Return a notice without the sentence on a crash, once another worker has trained past it."""
    return re.sub(rf"Its process was ended at step [0-9,]+; {_RESUMED} [^.]*\. ?", "", notice).strip()


def stopped_in_words(by: str, step: int | None) -> str:
    """Return the reason for a stopped run; `by` is "" for its owner, and `step` None if it had not started."""
    if step is None:
        return f"Stopped{f' by {by}' if by else ''} before it started."
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
