"""`make words`: collect the app's own sentences into `core/lessons/text/en/app.md`, for whoever translates them.

A language is a folder beside `en`. Under each `## sentence` of its `app.md` stands the translation.
"""

import ast
import inspect
from pathlib import Path

from core.config import RunConfig
from core.formatting import CHOICES, SCHEDULE_RESTARTED
from core.presets import PRESETS
from core.runs.setting_changes import NO_TRAINING_OF_ITS_OWN
from core.sampling_config import GenerationConfig
from core.settings import fields_of
from core.text import own_text
from core.text.corpora import catalogue
from core.text.token_display import KINDS
from core.training.hardware import SENTENCES
from core.training.progress_summary import SENTENCES as PROGRESS
from core.training.schedule import LATE_DECAY, LONG_WARMUP
from core.training.speed import WHY
from explorer.components.bundle import ASSETS, sentences_of

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "core" / "lessons" / "text" / "en" / "app.md"
_MARKS = ("_", "N_")


def python_sentences(source: str) -> list[str]:
    """What a module passes to `_` or marks with `N_`, as literals."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and node.args]
    marked = [call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id in _MARKS]
    return [given.value for given in marked if isinstance(given, ast.Constant) and isinstance(given.value, str)]


def setting_sentences() -> list[str]:
    """Labels, helps and units of all settings, which `core` shares with the shell."""
    settings = [setting for config in (RunConfig, GenerationConfig) for _, setting in fields_of(config)]
    return [words for setting in settings for words in (setting.label, setting.help, setting.unit) if words]


def core_sentences() -> list[str]:
    """What `core` says of presets, texts, characters and the machine where the pages show it."""
    presets = [inspect.getdoc(make).splitlines()[0] for make in PRESETS.values()]
    texts = [*catalogue(ROOT / "nowhere"), own_text._corpus("", {"title": "", "characters": 0})]
    told = [words for text in texts for words in (text.description, text.language, text.licence)]
    told = [words for words in told if not words.startswith("Python ")]
    tables = [words for table in (SENTENCES, WHY, PROGRESS, CHOICES) for words in table.values()]
    return [*presets, *told, *tables, NO_TRAINING_OF_ITS_OWN, SCHEDULE_RESTARTED, LONG_WARMUP, LATE_DECAY, *KINDS]


def collect() -> list[str]:
    """Every sentence once, by the file it stands in."""
    sentences = []
    for path in sorted([*(ROOT / "explorer").rglob("*.py"), *(ROOT / "pages").glob("*.py")]):
        sentences += python_sentences(path.read_text("utf-8"))
    for path in sorted(ASSETS.rglob("*.js")):
        sentences += sentences_of(path.read_text("utf-8"))
    return list(dict.fromkeys(sentences + setting_sentences() + core_sentences()))


def template() -> str:
    """What `app.md` of English shall hold."""
    return "# The sentences of the pages\n\n" + "\n\n".join(f"## {sentence}" for sentence in collect()) + "\n"


if __name__ == "__main__":
    FILE.write_text(template(), encoding="utf-8")
