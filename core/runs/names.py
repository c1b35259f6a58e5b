"""Friendly names for runs, and the cleaning of names that people give."""

import re
import unicodedata

from core.errors import RunError

NAME_LENGTH = 80
_JOINERS = "\u200c\u200d"  # hold emoji together and shape Persian and Indic words: the only invisible characters kept

_ADJECTIVES = (
    "agile amber ample bold brave breezy bright brisk calm candid cheerful clever cosy crisp curious dapper daring "
    "deft eager earnest easy fair fancy fleet fond frank fresh gentle glad golden graceful happy hardy honest humble "
    "jolly keen kind lively loyal lucid lucky merry mellow modest neat nimble noble patient placid plucky polite "
    "proud quick quiet rapid ready serene silver steady sunny swift tidy witty"
)
_ANIMALS = (
    "badger beaver bison bobcat camel canary cheetah crane cricket dolphin donkey dove eagle egret falcon ferret "
    "finch firefly fox gecko gibbon goose hare hedgehog heron ibis jackdaw jay kestrel kingfisher koala lark lemur "
    "linnet lynx magpie marmot marten mole moose narwhal newt ocelot octopus orca otter owl panda parrot pelican "
    "pigeon plover puffin quail rabbit raven robin salmon seal sparrow squirrel swallow swan tapir tern toucan "
    "turtle wombat wren yak zebra"
)


def friendly_name(seed: bytes) -> str:
    """A name such as `patient-otter`; the same bytes (at least four) give the same name."""
    adjectives, animals = _ADJECTIVES.split(), _ANIMALS.split()
    number, animal = divmod(int.from_bytes(seed, "big"), len(animals))
    return f"{adjectives[number % len(adjectives)]}-{animals[animal]}"


def clean_name(name: str) -> str:
    """A label fit to show: control and direction-changing characters out, blanks joined, at most 80 characters.

    The result is a label and nothing else; it is never part of a path. Raises RunError where nothing is left.
    """
    kept = "".join(
        " " if character.isspace() else character
        for character in name
        if character.isspace() or character in _JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs")
    )
    cleaned = " ".join(kept.split())[:NAME_LENGTH].strip(_JOINERS + " ")
    if not cleaned:
        raise RunError("A run's name needs at least one character that can be seen.")
    return cleaned


def plain_name(name: str) -> str:
    """Return a name as a part of a file's name that every system takes: letters, digits and hyphens."""
    return re.sub(r"[^\w-]+", "-", name, flags=re.ASCII).strip("-")[:60] or "run"
