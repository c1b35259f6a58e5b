"""Settings declared once, with bounds, unit and help, and read everywhere through `fields_of`."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple, Self, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import ConfigError

UsedWhen = Mapping[str, tuple[Any, ...]]  # paths of other settings, and their values for which a setting has an effect


def setting(
    default: Any,
    help: str,
    *,
    label: str = "",  # by default the field's name
    bounds: tuple[float, float] | tuple[None, None] = (None, None),  # inclusive
    unit: str = "",
    step: float | None = None,  # distance between two positions of a slider
    log: bool = False,  # the slider has a logarithmic scale
    is_rate: bool = False,  # a learning rate: written in scientific notation, and changed in proportion to the others
    advanced: bool = True,  # shown only behind "more settings"
    group: str | None = None,  # its heading in a form; by default the class's `group`
    used_when: UsedWhen | None = None,  # by default the class's `used_when`
    divides: str = "",  # the path of a setting that it must divide
) -> Any:
    """Declare one setting of a config: its default, bounds, and the words that users see."""
    extra: dict[str, Any] = {"label": label, "unit": unit, "step": step, "log": log, "is_rate": is_rate}
    extra |= {"advanced": advanced, "group": group, "used_when": used_when, "divides": divides}
    return Field(default, description=help, ge=bounds[0], le=bounds[1], json_schema_extra=extra)


basic_setting = partial(setting, advanced=False)


class Config(BaseModel):
    """A frozen config that raises `ConfigError` for unknown keys and values out of bounds."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)
    group: ClassVar[str] = ""  # the default for its settings
    used_when: ClassVar[UsedWhen] = {}  # the default for its settings

    @classmethod
    def parse(cls, data: Mapping[str, Any] | str | bytes) -> Self:
        """Build a config from a mapping or JSON text; raises a ConfigError that names field, value and bounds."""
        try:
            if isinstance(data, str | bytes):
                return cls.model_validate_json(data)
            return cls.model_validate(data)
        except ValidationError as error:
            raise ConfigError(_sentences(error, cls)) from None

    def to_json(self) -> str:
        """Return the config as JSON text."""
        return self.model_dump_json(indent=2)

    def replace(self, changes: Mapping[str, Any]) -> Self:
        """Return a copy with some fields changed, each named by its dotted path, and validated again.

        >>> config = config.replace({"model.n_layer": 6})
        """
        data = self.model_dump()
        for path, value in changes.items():
            *parents, name = path.split(".")
            section = data
            for parent in parents:
                section = section.get(parent) if isinstance(section, dict) else None
            if not isinstance(section, dict) or name not in section:
                raise ConfigError(_unknown_setting(path, type(self)))
            section[name] = value
        return self.parse(data)


class Setting(NamedTuple):
    """One setting with its bounds and words, for sliders, the command line and the documentation."""

    label: str
    help: str
    type: type  # bool, int, float or str
    default: Any
    choices: tuple[Any, ...]  # empty unless the setting is one of a few words
    low: Any  # same type as its values; None if it has no bounds
    high: Any
    unit: str
    step: float | None
    log: bool
    is_rate: bool
    advanced: bool
    group: str
    used_when: UsedWhen
    divides: str

    @property
    def in_factors(self) -> bool:
        """Whether the bounds are so far apart that sliders and the ranges of sweeps use a logarithmic scale."""
        return self.log or (self.type is int and not self.advanced and self.high >= 100 * self.low > 0)


def fields_of(config: type[Config], prefix: str = "") -> Iterator[tuple[str, Setting]]:
    """Yield every setting of a config class with its dotted path, in the order of declaration."""
    for name, field in config.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Config):
            yield from fields_of(annotation, f"{prefix}{name}.")
        elif isinstance(field.json_schema_extra, dict):
            choices = get_args(annotation) if get_origin(annotation) is Literal else ()
            bounds = {type(m): m for m in field.metadata}
            low, high = (bounds[Ge].ge, bounds[Le].le) if Ge in bounds else (None, None)
            words: dict[str, Any] = field.json_schema_extra | {"help": field.description or ""}
            words["label"] = words["label"] or name.replace("_", " ").capitalize()
            words["group"] = words["group"] or config.group
            words["used_when"] = config.used_when if words["used_when"] is None else words["used_when"]
            kind = annotation if isinstance(annotation, type) else str  # a choice of words
            yield prefix + name, Setting(type=kind, default=field.default, choices=choices, low=low, high=high, **words)


def value_at(config: Config, path: str) -> Any:
    """Return the value at a dotted path, such as `model.n_layer`."""
    value: Any = config
    for name in path.split("."):
        value = getattr(value, name)
    return value


def differences(config: Config, base: Config) -> dict[str, Any]:
    """Return the settings of `config` that differ from `base`, by dotted path."""
    values = {path: value_at(config, path) for path, _ in fields_of(type(config))}
    return {path: value for path, value in values.items() if value != value_at(base, path)}


def _sentences(error: ValidationError, config: type[Config]) -> str:
    settings = dict(fields_of(config))
    sentences = []
    for item in error.errors():
        path = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            sentences.append(_unknown_setting(path, config))
        elif item["type"] == "json_invalid":
            sentences.append(f"This is not valid JSON: {item['ctx']['error']}.")
        elif item["type"] == "value_error":
            sentences.append(f"{path + ': ' if path else ''}{item['ctx']['error']}.")
        elif path in settings:
            sentences.append(f"{path} cannot be {_short(item['input'])}: {_expectation(settings[path])}.")
        else:
            sentences.append(f"{path or 'The config'} cannot be {_short(item['input'])}: {item['msg']}.")
    return " ".join(sentences)


def _unknown_setting(path: str, config: type[Config]) -> str:
    near = get_close_matches(path, dict(fields_of(config)), cutoff=0.75)
    similar = f"Did you mean {' or '.join(near)}? " if near else ""
    return f"There is no setting called {path!r}. {similar}`python -m core settings` lists all of them."


def _expectation(setting: Setting) -> str:
    if setting.choices:
        return "it must be one of " + ", ".join(map(str, setting.choices))
    kind = {bool: "true or false", int: "a whole number", float: "a number"}.get(setting.type, "a lower-case name")
    if setting.low is None or setting.high is None:
        return f"it must be {kind}"
    highest = f"{setting.high:g}" if setting.high < 1e6 else int(setting.high)
    return f"it must be {kind} from {setting.low:g} to {highest}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
