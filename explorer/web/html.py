"""What our own HTML pages share: their templates, and the path below which a proxy serves the app."""

from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markdown_it import MarkdownIt
from markupsafe import Markup


@lru_cache(maxsize=1)
def _environment() -> Environment:
    folder = FileSystemLoader(Path(__file__).with_name("templates"))
    environment = Environment(loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    # HTML in Markdown is disabled, so that all tags are ours.
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    environment.filters["markdown"] = lambda text: Markup(markdown.render(text))
    environment.filters["inline"] = lambda text: Markup(markdown.renderInline(text))
    return environment


def template(name: str) -> Template:
    """Return a template of `explorer/web/templates`, with the filters `markdown` and `inline`."""
    return _environment().get_template(f"{name}.html")


def address_base(base_path: str) -> str:
    """Return a base path as the beginning of addresses: "/gpt" for "gpt" or "/gpt/", and "" for none."""
    return f"/{base_path.strip('/')}".rstrip("/")
