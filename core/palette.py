"""All colors, defined only here, so that they mean the same on every page and in every report."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Palette:
    """The colors of one theme, each a CSS hex string."""

    text: str
    muted: str
    grid: str
    surface: str  # the background of charts
    training: str  # the training loss curve, and every number that belongs to it
    validation: str
    accent: str  # the selection
    lines: str  # dashed reference lines, such as the baselines
    good: str  # states; never shown by color alone
    warning: str
    bad: str
    sequential: tuple[str, ...]  # color stops for an amount from nothing to all
    diverging: tuple[str, ...]  # color stops for a signed value, from the lowest through zero to the highest
    kinds: dict[str, str]  # a token's color by its kind (`core.text.token_display.KINDS`)
    runs: tuple[str, ...]  # colors for curves of different runs; `run_places` assigns them


# (light, dark) pairs
_KINDS = {
    "vowel": ("#b45a10", "#f2a25c"),
    "consonant": ("#2f6fc4", "#6aa6f5"),
    "capital": ("#1f3f8f", "#b9c6ff"),
    "letter": ("#5a4fb0", "#a99cf0"),
    "digit": ("#1d7f5f", "#58c9a3"),
    "punctuation": ("#6c6e7a", "#9b9daa"),
    "space": ("#a3489a", "#e08fd6"),
    "other": ("#8a6d3b", "#cdb27a"),
}
_RUNS = (
    ("#4f46d8", "#8f88ff"),
    ("#d55e00", "#ff9a57"),
    ("#0b8a6f", "#4fcbaa"),
    ("#b5408f", "#e78ac6"),
    ("#2f8fd0", "#6cc0f5"),
    ("#9a7400", "#dcb94a"),
    ("#7a4fa3", "#bf9bea"),
    ("#c23b3b", "#ff8a80"),
    ("#3f7f2f", "#8fcf7a"),
    ("#5f6b7a", "#a9b3c1"),
)

LIGHT = Palette(
    text="#1d1d24",
    muted="#666873",
    grid="#ececf0",
    surface="#ffffff",
    training="#2f6fc4",
    validation="#b45a10",
    accent="#4f46d8",
    lines="#9a9ca8",
    good="#1d7f5f",
    warning="#a86400",
    bad="#b3261e",
    sequential=("#fbfbfe", "#e4e3f2", "#c3c1e0", "#9996c8", "#6d69ac", "#46418f", "#262470"),
    diverging=("#2a5d9f", "#6f9bcf", "#bcd3ea", "#f7f7f8", "#f5cfae", "#e3955a", "#b4561a"),
    kinds={kind: colors[0] for kind, colors in _KINDS.items()},
    runs=tuple(colors[0] for colors in _RUNS),
)

DARK = Palette(
    text="#ececf1",
    muted="#9b9daa",
    grid="#2a2b34",
    surface="#14151a",
    training="#6aa6f5",
    validation="#f2a25c",
    accent="#8f88ff",
    lines="#767885",
    good="#58c9a3",
    warning="#e0ae55",
    bad="#ff8a80",
    sequential=("#17181e", "#282842", "#3d3b69", "#595694", "#7f7bbf", "#aeabe2", "#e6e4ff"),
    diverging=("#8fbdf2", "#5586c2", "#2f4a6b", "#1d1e25", "#6b4426", "#c27a3c", "#ffb877"),
    kinds={kind: colors[1] for kind, colors in _KINDS.items()},
    runs=tuple(colors[1] for colors in _RUNS),
)
