"""What `core` calls the parts of a model, its stages and the habits of heads, in the language on view."""

from explorer.i18n.language import N_, _

_NUMBERED = {
    "head": N_("head {head}"),
    "attention": N_("attention {layer}"),
    "MLP": N_("MLP {layer}"),
    "block": N_("block {block}"),
    "before block": N_("before block {block}"),
    "after block": N_("after block {block}"),
}
_ALONE = {
    N_("embedding"),
    N_("the token read"),
    N_("its place"),
    N_("counted pairs"),
    N_("biases"),
    N_("previous token"),
    N_("same token"),
    N_("start of text"),
    N_("start of the word"),
    N_("induction"),
    N_("no clear role"),
}


def named(words: str) -> str:
    """ "head 1.2", "MLP 3", "its place", "previous token", ...; what is no such name stays as it is."""
    kind, _unused, place = words.rpartition(" ")
    if kind in _NUMBERED:
        return _(_NUMBERED[kind], head=place, layer=place, block=place)
    return _(words) if words in _ALONE else words
