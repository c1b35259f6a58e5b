"""What the catalogue says about a text."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Corpus:
    """One entry of the catalogue.

    Attributes:
        name: what configs and the command line call it.
        title: what people call it; of a user's own text, a label they gave and nothing more.
        characters: its length; 0 if that is not known before it is loaded.
        own: the user's own text, which can be deleted.
        download: it is not on this machine yet; loading it fetches it once.
    """

    name: str
    title: str
    language: str
    licence: str
    description: str
    characters: int
    own: bool = False
    download: bool = False
