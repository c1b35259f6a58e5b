"""Text as a model writes it, each token shaded by its probability, with its alternatives at hand."""

from collections.abc import Sequence

from explorer.charts.palette import both_palettes
from explorer.components.bundle import component
from explorer.i18n.units import unit
from explorer.services.generated_tokens import WrittenToken

_text = component("token_text", "text/generated.js", "text/generated.css")


def token_text(
    *,
    prompt: str,
    go: str,
    key: str,
    url: str | None = None,
    tokens: Sequence[WrittenToken] = (),
    total: int = 0,
) -> None:
    """Show tokens that are there already, or let them stream in from `url`.

    Args:
        prompt: what the text continues; shown in front of it and copied with it.
        go: a word that changes when a new text is asked for; while it stays, reruns of the page leave the text alone.
        url: relative to the page, of a stream of `token`, `problem` and `end` events.
        tokens: where there is no stream, all of them.
        total: how many tokens the stream will bring at most.
    """
    _text(
        key=key,
        data={
            "prompt": prompt,
            "go": go,
            "url": url,
            "tokens": list(tokens),
            "total": total,
            "unit": unit(),
            "palettes": both_palettes(),
        },
    )
