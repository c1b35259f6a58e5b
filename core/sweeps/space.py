"""The search space of a sweep: settings with a range or a list of values, as a grid or drawn at random."""

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from core.atomic_io import parse_json
from core.config import SETTINGS, RunConfig, used_settings
from core.errors import ConfigError
from core.settings import Setting

MAX_RUNS = 200  # in a sweep
MAX_DIMENSIONS = 6
MAX_SEEDS = 10  # runs of one point
MAX_POSITIONS = 50  # of a range in a grid
FIRST_POSITIONS = 4
_TRIES = 100  # to draw a valid new combination of values
_EXAMPLE = "train.learning_rate=1e-4..1e-2"
_NO_DIMENSIONS = {
    "train.seed": "seeds are chosen as their number",
    "train.device": "every run takes the same device",
}

Values = dict[str, Any]  # by the path of a setting
MethodName = Literal["tpe", "random", "grid", "fixed_points"]


class Method(NamedTuple):
    """A method of choosing a sweep's points; `core.sweeps.search` implements it."""

    label: str
    about: str  # a description for users
    learns: bool = False  # from the losses of earlier points, so it waits for them, and prunes by default
    offered: bool = True  # to users


METHODS: dict[MethodName, Method] = {
    "tpe": Method("TPE", "searches near good points (Optuna)", learns=True),
    "random": Method("Random", "draws from the ranges"),
    "grid": Method("Grid", "trains every combination"),
    "fixed_points": Method("Fixed points", "trains the sizes of a scaling study", offered=False),
}
OFFERED = [name for name, method in METHODS.items() if method.offered]


class Dimension(BaseModel):
    """One setting that a sweep varies: over a list of values, or over a range from `low` to `high`."""

    model_config = ConfigDict(frozen=True)

    path: str
    values: tuple[bool | int | float | str, ...] = ()
    low: float | None = None
    high: float | None = None
    positions: int = FIRST_POSITIONS  # of a range in a grid

    @property
    def setting(self) -> Setting:
        """The setting that is varied."""
        return SETTINGS[self.path]

    def at(self, fraction: float) -> Any:
        """Return the setting's value at a fraction of the range, 0 to 1."""
        assert self.low is not None and self.high is not None
        if self.setting.in_factors:
            return self.fitting(self.low * (self.high / self.low) ** fraction)
        return self.fitting(self.low + (self.high - self.low) * fraction)

    def fitting(self, value: float) -> Any:
        """Return the nearest value with the setting's type and step, inside the range."""
        assert self.low is not None and self.high is not None
        if self.setting.type is not int:
            return min(max(_rounded(value, self.high - self.low), self.low), self.high)
        step = int(self.setting.step or 1)
        return min(max(round(value / step) * step, math.ceil(self.low)), math.floor(self.high))

    def grid(self) -> list[Any]:
        """Return the values in a grid: those of the list, or evenly spaced positions of the range."""
        if self.values:
            return list(self.values)
        fractions = np.linspace(0.0, 1.0, self.positions)
        return list(dict.fromkeys(self.at(float(fraction)) for fraction in fractions))

    def place(self, value: Any) -> float:
        """Return the place of a value on the dimension, 0 to 1; for a list, by its index."""
        if self.values:
            places = [place for place, other in enumerate(self.values) if other == value]
            return (places[0] if places else 0) / max(1, len(self.values) - 1)
        assert self.low is not None and self.high is not None
        if self.setting.in_factors:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def parse_dimension(text: str) -> Dimension:
    """Parse a dimension: `model.n_layer=2,4,6`, `train.learning_rate=1e-4..1e-2` or, with 5 positions, `...:5`."""
    path, equals, rest = (part.strip() for part in text.partition("="))
    if not equals or not rest:
        raise ConfigError(f"--vary needs a setting and its range or list, such as {_EXAMPLE}, not {text!r}.")
    if ".." not in rest:
        return Dimension(path=path, values=tuple(_value(part) for part in rest.split(",")))
    ends, _, positions = rest.partition(":")
    low, _, high = ends.partition("..")
    try:
        count = int(positions) if positions else FIRST_POSITIONS
        return Dimension(path=path, low=float(low), high=float(high), positions=count)
    except ValueError:
        raise ConfigError(f"The range {rest!r} of {path} is not possible. Write it as in {_EXAMPLE}:5.") from None


def check_dimensions(base: RunConfig, dimensions: Sequence[Dimension], *, as_grid: bool = False) -> None:
    """Raise ConfigError if a dimension is invalid or has no effect, or no run (in a grid: some run) can be trained."""
    if not 1 <= len(dimensions) <= MAX_DIMENSIONS:
        raise ConfigError(f"A sweep varies 1 to {MAX_DIMENSIONS} settings, and {len(dimensions)} are chosen.")
    if len({dimension.path for dimension in dimensions}) < len(dimensions):
        raise ConfigError("A sweep varies each setting only once.")
    for dimension in dimensions:
        _check_one(base, dimension)
    used = _used_by_some(base, dimensions)
    for dimension in dimensions:
        if dimension.path not in used:
            raise ConfigError(f"{dimension.path} has no effect with the other settings, so its runs would be the same.")
    if as_grid and grid_size(dimensions) <= MAX_RUNS:  # a larger grid is refused because of its size
        for values in grid_points(dimensions):
            base.replace(values)  # raises before any run starts if one of the points is invalid
    elif not as_grid:
        draw_point(base, dimensions, np.random.default_rng(0), [])


def _used_by_some(base: RunConfig, dimensions: Sequence[Dimension]) -> set[str]:
    """Return the settings that have an effect with at least one value of the lists."""
    used = set(used_settings(base))
    for dimension in dimensions:
        section, name = dimension.path.split(".")
        for value in dimension.values:  # not validated: a value may be valid only with others of the sweep
            part = getattr(base, section).model_copy(update={name: value})
            used |= set(used_settings(base.model_copy(update={section: part})))
    return used


def _check_one(base: RunConfig, dimension: Dimension) -> None:
    path = dimension.path
    if path not in SETTINGS:
        raise ConfigError(f"There is no setting called {path!r}. See: python -m core settings")
    if path in _NO_DIMENSIONS:
        raise ConfigError(f"{path} cannot be varied: {_NO_DIMENSIONS[path]}.")
    if dimension.values:
        if len(set(dimension.values)) < len(dimension.values):
            raise ConfigError(f"The list of {path} contains a value twice.")
        if len(dimension.values) < 2:
            raise ConfigError(f"The list of {path} has only one value. Give at least two, or a range.")
        for value in dimension.values:
            _check_value(base, path, value)
        return
    _check_range(dimension)


def _check_range(dimension: Dimension) -> None:
    path, low, high, setting = dimension.path, dimension.low, dimension.high, dimension.setting
    if setting.type not in (int, float) or setting.choices:
        raise ConfigError(f"{path} has no range: it is a choice. Give a list of its values.")
    if low is None or high is None or not math.isfinite(low + high):
        raise ConfigError(f"The range of {path} needs two numbers, such as {_EXAMPLE}.")
    if not setting.low <= low <= setting.high or not setting.low <= high <= setting.high:
        raise ConfigError(
            f"The range of {path} goes from {low:g} to {high:g}, and the setting from {setting.low:g} to "
            f"{setting.high:g}."
        )
    if low >= high:
        raise ConfigError(f"The range of {path} must rise, and {low:g} is not below {high:g}.")
    if dimension.setting.in_factors and low <= 0:
        raise ConfigError(f"The range of {path} is divided by factors, so it must begin above 0.")
    if not 2 <= dimension.positions <= MAX_POSITIONS:
        raise ConfigError(f"A range has 2 to {MAX_POSITIONS} positions in a grid, not {dimension.positions}.")


def _check_value(base: RunConfig, path: str, value: Any) -> None:
    """Raise ConfigError for a value out of bounds; accept a value that is valid only with others of the sweep."""
    section, name = path.split(".")
    try:
        type(getattr(base, section)).parse({name: value})
    except ConfigError as error:
        if str(error).startswith(f"{name} cannot be"):  # its bounds or type
            raise ConfigError(f"{section}.{error}") from None


def grid_points(dimensions: Sequence[Dimension]) -> Iterator[Values]:
    """Yield every point of the grid, the last dimension fastest."""
    paths = [dimension.path for dimension in dimensions]
    for values in product(*(dimension.grid() for dimension in dimensions)):
        yield dict(zip(paths, values, strict=True))


def grid_size(dimensions: Sequence[Dimension]) -> int:
    """Return the number of points of the grid."""
    return math.prod(len(dimension.grid()) for dimension in dimensions)


def draw_point(
    base: RunConfig, dimensions: Sequence[Dimension], rng: np.random.Generator, before: Sequence[Values]
) -> Values:
    """Draw a valid point uniformly, if possible a new one; raises ConfigError if no valid point is found."""
    fits: Values | None = None
    problem = ConfigError("")
    for _ in range(_TRIES):
        values = {dimension.path: _draw(dimension, rng) for dimension in dimensions}
        try:
            base.replace(values)
        except ConfigError as error:
            problem = error
            continue
        if values not in before:
            return values
        fits = values
    if fits is None:
        raise ConfigError(f"No values of these ranges fit together. {problem}")
    return fits


def _draw(dimension: Dimension, rng: np.random.Generator) -> Any:
    if dimension.values:
        return dimension.values[int(rng.integers(len(dimension.values)))]
    return dimension.at(float(rng.random()))


def drawn_points(base: RunConfig, dimensions: Sequence[Dimension], count: int) -> list[Values]:
    """Return points drawn at random, for estimating a sweep's cost."""
    rng, points = np.random.default_rng(0), list[Values]()
    for _ in range(count):
        points.append(draw_point(base, dimensions, rng, points))
    return points


def around(dimension: Dimension, best: Any) -> Dimension:
    """Narrow a dimension around the best value: to half of its range, or to the neighbors in a list of numbers."""
    if dimension.values:
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in dimension.values):
            return dimension
        ordered = sorted(dimension.values)
        place = ordered.index(best)
        near = tuple(ordered[max(0, place - 1) : place + 2])
        return dimension.model_copy(update={"values": near if len(near) > 1 else dimension.values})
    setting, low, high = dimension.setting, dimension.low, dimension.high
    assert low is not None and high is not None
    if dimension.setting.in_factors:
        factor = (high / low) ** 0.25
        ends = (best / factor, best * factor)
    else:
        ends = (best - (high - low) / 4, best + (high - low) / 4)
    if setting.type is int:
        least, most = math.floor(ends[0]), math.ceil(ends[1])
    else:
        least, most = (_rounded(end, ends[1] - ends[0]) for end in ends)
    return dimension.model_copy(update={"low": float(max(least, setting.low)), "high": float(min(most, setting.high))})


def _rounded(value: float, width: float) -> float:
    """Round a value in a range of this width to three digits, or to more if needed to distinguish values."""
    digits = 2 - math.floor(math.log10(min(abs(value) or width, width)))
    return round(value, digits)


def _value(text: str) -> Any:
    try:
        value = parse_json(text.strip())
    except ValueError:
        return text.strip()
    return value if isinstance(value, bool | int | float | str) else text.strip()
