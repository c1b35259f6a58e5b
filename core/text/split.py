"""Where a text is cut in two."""


def split_point(length: int, val_fraction: float) -> int:
    """How many of `length` tokens train; the rest, at the end, validates. Cut as nanoGPT does: `int(0.9 * length)`."""
    return int((1 - val_fraction) * length)
