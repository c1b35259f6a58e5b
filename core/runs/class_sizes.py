"""Model sizes that a teacher hands out, one to each student in turn, and the runs that were trained with them."""

import re
from typing import NamedTuple

from core.class_records import ClassSettings
from core.classroom import Classroom
from core.config import RunConfig
from core.errors import ConfigError, ExplorerError
from core.presets import preset
from core.runs.folder import list_runs
from core.runs.weights import vocab_size_of
from core.settings import differences
from core.text.corpora import share_text
from core.training.scaling_law import MIN_SIZES
from core.training.work import exact_parameters

MAX_LAYERS, WIDEST, WIDTH_STEP, MAX_SIZES = 24, 1024, 8, 12
_SIZE = re.compile(r"(\d{1,2})\s*[x×]\s*(\d{1,4})", re.IGNORECASE)


class Size(NamedTuple):
    """The size of a GPT."""

    layers: int
    width: int

    def __str__(self) -> str:
        return f"{self.layers}x{self.width}"


class SizedRun(NamedTuple):
    """A finished run that counts: its size was handed out, or predicted."""

    run: str
    member: str
    size: Size
    parameters: int
    loss: float  # on validation text, nats/token
    is_handed_out: bool


def parse_size(text: str) -> Size:
    """Return the size in a text such as "4x96", 4 layers of width 96; raises ConfigError for anything else."""
    match = _SIZE.fullmatch(text.strip())
    size = Size(int(match[1]), int(match[2])) if match else Size(0, 0)
    if not (1 <= size.layers <= MAX_LAYERS and WIDTH_STEP <= size.width <= WIDEST and not size.width % WIDTH_STEP):
        raise ConfigError(
            f"{text.strip()[:20]!r} is no size. Write layers and width as in 4x96, with at most {MAX_LAYERS} layers "
            f"and a width of at most {WIDEST}, a multiple of {WIDTH_STEP}."
        )
    return size


def parse_sizes(text: str) -> list[Size]:
    """Return the different sizes in a text such as "1x16, 2x32"; raises ConfigError like `parse_size`."""
    sizes = list(dict.fromkeys(parse_size(part) for part in text.split(",") if part.strip()))
    if not MIN_SIZES <= len(sizes) <= MAX_SIZES:
        raise ConfigError(f"Write {MIN_SIZES} to {MAX_SIZES} different sizes, separated by commas.")
    return sizes


def hand_out_sizes(classroom: Classroom, sizes: str, text: str, steps: int) -> None:
    """Hand out sizes such as "1x16, 2x32", one to each student in the order of joining; raises ExplorerError."""
    parsed = parse_sizes(sizes)
    share_text(text, classroom.root)
    classroom.change(sizes=[str(size) for size in parsed], sizes_text=text, sizes_steps=steps)


def size_of_member(classroom: Classroom, member: str) -> RunConfig | None:
    """Return the settings of the run that a student should train; None if no sizes are handed out.

    Each student has a different seed, so that runs of the same size show how much the loss varies.
    """
    now = classroom.settings
    places = {each.id: place for place, each in enumerate(sorted(classroom.members(), key=lambda each: each.joined))}
    if not now.sizes or member not in places:
        return None
    place = places[member]
    config = config_of_size(now, parse_size(now.sizes[place % len(now.sizes)]))
    return config.replace({"train.seed": config.train.seed + place})


def config_of_size(now: ClassSettings, size: Size) -> RunConfig:
    """Return the settings of a run with a model of `size`, with the class's text and number of steps."""
    return preset("gpt-quick").replace(
        {
            "data.corpus": now.sizes_text,
            "model.n_layer": size.layers,
            "model.n_embd": size.width,
            "train.steps": now.sizes_steps,
        }
    )


def sized_runs(classroom: Classroom) -> list[SizedRun]:
    """Return the finished runs of the class and its teacher that differ only in size and seed, oldest first."""
    now = classroom.settings
    runs: list[SizedRun] = []
    for folder in reversed(list_runs(classroom.root)):
        try:
            record, status = folder.record(), folder.status()
            size = Size(record.config.model.n_layer, record.config.model.n_embd)
            other = differences(record.config, config_of_size(now, size)).keys() - {"train.seed"}
            if other or status.state != "finished" or status.val_loss is None:
                continue
            parameters = exact_parameters(record.config.model, vocab_size_of(folder))
        except ExplorerError:  # deleted, or damaged
            continue
        is_handed_out = str(size) in now.sizes
        runs.append(SizedRun(folder.id, folder.member, size, parameters, status.val_loss, is_handed_out))
    return runs
