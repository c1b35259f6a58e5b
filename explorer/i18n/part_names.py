"""What `core` calls the parts of a model, its stages and the habits of heads, in the language on view."""

from explorer.i18n.language import later, say

_NUMBERED = {
    "head": later("head {head}"),
    "attention": later("attention {layer}"),
    "MLP": later("MLP {layer}"),
    "block": later("block {block}"),
    "before block": later("before block {block}"),
    "after block": later("after block {block}"),
}
_ALONE = {
    later("embedding"),
    later("the token read"),
    later("its place"),
    later("counted pairs"),
    later("biases"),
    later("previous token"),
    later("same token"),
    later("start of text"),
    later("start of the word"),
    later("induction"),
    later("no habit found"),
}


def named(words: str) -> str:
    """ "head 1.2", "MLP 3", "its place", "previous token", ...; what is no such name stays as it is."""
    kind, _, place = words.rpartition(" ")
    if kind in _NUMBERED:
        return say(_NUMBERED[kind], head=place, layer=place, block=place)
    return say(words) if words in _ALONE else words
