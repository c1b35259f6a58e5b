"""Texts that a program generates, always the same."""

import random
from datetime import UTC, datetime, timedelta
from itertools import product
from string import ascii_lowercase

_TUNES, _LOG_LINES = 3000, 12_000
# The chords of a part, one per bar, as degrees of the scale from the tonic. The last bar of a part is always the tonic.
_CHORDS = ((0, 0, 3, 4, 0, 0, 4), (0, 3, 0, 4, 0, 3, 4), (0, 5, 3, 4, 0, 5, 4), (0, 4, 5, 3, 0, 3, 4))
_KEYS = {"G": "GABcdefgab", "D": "DEFGABcdef", "A": "ABcdefgab", "C": "CDEFGABcde"}
_QUALITIES = ["Merry", "Old", "Bonny", "Lazy", "Gallant", "Wandering", "Silver", "Rocky", "Green", "Last"]
_SUBJECTS = [
    "Miller",
    "Harbor",
    "Fiddler",
    "Road",
    "Sailor",
    "Morning",
    "Lass",
    "Hill",
    "Piper",
    "Kettle",
    "River",
    "Wedding",
]
_PAGES = ("/", "/about", "/news", "/courses", "/courses/physics", "/courses/music", "/library", "/contact", "/login")
_FILES = ("/style.css", "/app.js", "/logo.svg")
_BROWSERS = ("Firefox/128.0", "Chrome/126.0", "Safari/17.5", "curl/8.8.0")

_BASES, _GENES = "ACGT", 900
_CODONS = ["".join(codon) for codon in product(_BASES, repeat=3)]
_STOPS = ("TAA", "TAG", "TGA")
_AFTER = {
    "A": (35, 15, 18, 32),
    "C": (30, 24, 12, 34),
    "G": (29, 22, 22, 27),
    "T": (26, 20, 21, 33),
}  # frequencies after each base, in %


def repeats() -> str:
    """Return 20,000 lines, each a word of 12 to 24 different letters, written twice."""
    rng = random.Random(0)
    words = ("".join(rng.sample(ascii_lowercase, rng.randint(12, 24))) for _ in range(20_000))
    return "".join(f"{word} {word}\n" for word in words)


def tunes() -> str:
    """Return 3,000 jigs in ABC notation, which ABC players can play, separated by blank lines.

    Each has two parts of eight bars. Strong beats are tones of the bar's chord, and bars repeat, as in dances.
    """
    rng = random.Random(0)
    return "\n".join(_tune(number + 1, rng) for number in range(_TUNES))


def _tune(number: int, rng: random.Random) -> str:
    key, scale = rng.choice(list(_KEYS.items()))
    title = f"The {rng.choice(_QUALITIES)} {rng.choice(_SUBJECTS)}"
    parts = []
    for _part in range(2):
        bars: list[str] = []
        for place, chord in enumerate(rng.choice(_CHORDS)):
            again = place in (4, 5) and rng.random() < 0.8
            bars.append(bars[place - 4] if again else _bar(chord, scale, rng))
        closing = f"{scale[2]}{scale[1]}{scale[0]} {scale[0]}3"
        parts.append(f"|: {' | '.join(bars[:4])} |\n{' | '.join([*bars[4:], closing])} :|")
    return f"X:{number}\nT:{title}\nR:jig\nM:6/8\nL:1/8\nK:{key}\n" + "\n".join(parts) + "\n"


def _bar(chord: int, scale: str, rng: random.Random) -> str:
    """Return two groups of three notes; each starts on a tone of the chord and continues in steps."""
    groups = []
    for _group in range(2):
        tone = (chord + rng.choice((0, 2, 4))) % 7
        step = rng.choice((-1, 1))
        notes = [abs(tone + step * count) for count in range(3)]  # at the tonic it turns back
        if rng.random() < 0.3:  # back to the tone after its neighbor
            notes[2] = notes[0]
        groups.append("".join(scale[note] for note in notes))
    return " ".join(groups)


def server_log() -> str:
    """Return 12,000 lines of a web server's log, whose visitors each read a few pages in a row.

    A page is followed by its files, an unknown address gets a 404, and a file always has the same size.
    """
    rng = random.Random(0)
    sizes = {path: rng.randint(300, 60_000) for path in (*_PAGES, *_FILES)}
    time = datetime(2026, 1, 5, 8, tzinfo=UTC)
    lines: list[str] = []
    while len(lines) < _LOG_LINES:
        address = f"192.0.2.{rng.randint(1, 254)}"  # reserved for documentation (RFC 5737)
        browser = rng.choice(_BROWSERS)
        for _visit in range(rng.randint(1, 6)):
            page = rng.choice(_PAGES)
            requests = [page, *_FILES] if rng.random() < 0.5 else [page]
            if rng.random() < 0.08:
                requests = [f"/{''.join(rng.sample(ascii_lowercase, 5))}.php"]
            for path in requests:
                time += timedelta(seconds=rng.choice((0, 0, 1, 2, 7)))
                method = "POST" if path == "/login" and rng.random() < 0.6 else "GET"
                status = 404 if path not in sizes else 302 if method == "POST" else 200
                size = {404: 153, 302: 0}.get(status) if status != 200 else sizes[path]
                lines.append(
                    f'{address} - - [{time:%d/%b/%Y:%H:%M:%S} +0000] "{method} {path} HTTP/1.1" {status} {size} '
                    f'"{browser}"\n'
                )
            time += timedelta(seconds=rng.randint(3, 90))
    return "".join(lines[:_LOG_LINES])


def dna() -> str:
    """Return 900 lines of bases, each a gene after a noncoding stretch, somewhat as in a bacterium.

    In the stretch, each base depends on the one before. The ribosome's binding site, AGGAGG (Shine and Dalgarno 1974),
    ends six bases before the gene, which is ATG, codons of unequal frequency, and the first stop codon.
    """
    rng = random.Random(0)
    coding = [codon for codon in _CODONS if codon not in _STOPS]
    frequencies = [rng.random() ** 3 for _codon in coding]
    lines = []
    for _gene in range(_GENES):
        stretch = [rng.choice(_BASES)]
        for _base in range(rng.randint(40, 200)):
            stretch += rng.choices(_BASES, _AFTER[stretch[-1]])
        spacer, codons = rng.choices(_BASES, k=6), rng.choices(coding, frequencies, k=rng.randint(60, 300))
        lines.append("".join([*stretch, "AGGAGG", *spacer, "ATG", *codons, rng.choice(_STOPS), "\n"]))
    return "".join(lines)
