"""Collect the app's sentences into `explorer/i18n/locale/messages.pot`, for translators: `make words`.

Every language's catalog gets the new sentences and is compiled for gettext.
"""

import inspect
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from jinja2.ext import babel_extract

from core.config import RunConfig
from core.formatting import CHOICES, SCHEDULE_RESTARTED
from core.presets import PRESETS
from core.runs.commands import NO_TRAINING_OF_ITS_OWN
from core.sampling_config import GenerationConfig
from core.settings import fields_of
from core.sweeps.space import METHODS
from core.text import own_text
from core.text.corpora import catalogue
from core.text.ngrams import BASELINES
from core.text.token_display import KINDS
from core.training.gauge import ADVICE, PARTS
from core.training.hardware import SENTENCES
from core.training.health_readings import SENTENCES as HEALTH
from core.training.progress_summary import SENTENCES as PROGRESS
from core.training.schedule import LATE_DECAY, LONG_WARMUP
from core.training.speed import WHY
from explorer.components.modules import COMPONENTS
from explorer.i18n.language import DOMAIN, LOCALE

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = LOCALE / f"{DOMAIN}.pot"
_HEADER = "Sentences of GPT Explorer's pages. `{name}` stands for a value. `make words` writes this file."
_KEYWORDS = {"_": None, "N_": None, "ngettext": (1, 2)}
_LANGUAGES = {".py": "python", ".js": "javascript", ".html": babel_extract}


@cache
def sentences_in(source: str, suffix: str) -> list[tuple[str | tuple[str, ...], list[str]]]:
    """Return the sentences that a file marks, each with the translators' comments above it.

    Args:
        suffix: of the file, ".py", ".js" or ".html" for a template of Jinja2.
    """
    options = {"parse_template_string": "True"} if suffix == ".js" else {}
    file = BytesIO(source.encode())
    extracted = extract(_LANGUAGES[suffix], file, _KEYWORDS, ("Translators:",), options)
    return [(sentence, comments) for _line, sentence, comments, _context in extracted if sentence]


def setting_sentences() -> list[str]:
    """Return the labels, helps and units of all settings, which `core` shares with the shell."""
    settings = [setting for config in (RunConfig, GenerationConfig) for _, setting in fields_of(config)]
    return [
        words for setting in settings for words in (setting.label, setting.help, setting.unit, setting.group) if words
    ]


def core_sentences() -> list[str]:
    """Return what `core` says of presets, texts, characters and the machine where the pages show it."""
    presets = [inspect.getdoc(make).splitlines()[0] for make in PRESETS.values()]
    texts = [*catalogue(ROOT / "nowhere"), own_text._corpus("", {"title": "", "characters": 0, "license": ""})]
    corpora = [words for text in texts for words in (text.description, text.language, text.license)]
    corpora = [words for words in corpora if not words.startswith("Python ")]
    tables = (SENTENCES, WHY, PROGRESS, HEALTH, CHOICES, BASELINES, PARTS, ADVICE)
    tables = [words for table in tables for words in table.values()]
    tables += [words for method in METHODS.values() for words in method[:2]]
    return [*presets, *corpora, *tables, NO_TRAINING_OF_ITS_OWN, SCHEDULE_RESTARTED, LONG_WARMUP, LATE_DECAY, *KINDS]


def collect() -> Catalog:
    """Return every sentence once, with the files it stands in."""
    catalog = Catalog(domain=DOMAIN, header_comment=f"# {_HEADER}", project="GPT Explorer", fuzzy=False)
    pages = [*(ROOT / "explorer").rglob("*.py"), *(ROOT / "pages").glob("*.py"), *COMPONENTS.rglob("*.js")]
    pages += (ROOT / "explorer").rglob("*.html")
    for path in sorted(pages):
        for sentence, comments in sentences_in(path.read_text("utf-8"), path.suffix):
            location = (path.relative_to(ROOT).as_posix(), 1)
            catalog.add(sentence, locations=[location], auto_comments=[text[13:] for text in comments])
    for sentence in setting_sentences():
        catalog.add(sentence, locations=[("core", 1)], auto_comments=["Label, help or unit of a setting"])
    for sentence in core_sentences():
        catalog.add(sentence, locations=[("core", 1)])
    return catalog


def written(catalog: Catalog) -> bytes:
    """Return a catalog as a .po file without dates and line numbers, so that it changes with its sentences alone."""
    file = BytesIO()
    write_po(file, catalog, width=120, include_lineno=False, ignore_obsolete=True)
    dated = (b'"POT-Creation-Date', b'"PO-Revision-Date', b'"Generated-By')
    return b"".join(line for line in file.getvalue().splitlines(keepends=True) if not line.startswith(dated))


def translations(locale: Path = LOCALE) -> Iterator[Path]:
    """Yield the catalogs of all languages but English, which needs none."""
    yield from sorted(locale.glob(f"*/LC_MESSAGES/{DOMAIN}.po"))


def update(po: Path, template: Catalog) -> None:
    """Give a language's catalog the sentences of the template, and compile it."""
    with po.open("rb") as file:
        catalog = read_po(file, locale=po.parents[1].name, domain=DOMAIN)
    catalog.update(template, no_fuzzy_matching=True)
    po.write_bytes(written(catalog))
    with po.with_suffix(".mo").open("wb") as file:
        write_mo(file, catalog)


if __name__ == "__main__":
    TEMPLATE.parent.mkdir(exist_ok=True)
    TEMPLATE.write_bytes(written(collect()))
    for path in translations():
        update(path, collect())
