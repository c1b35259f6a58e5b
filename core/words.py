"""Numbers in words, the same ones in every sentence, on every page and in the shell."""


def memory_in_words(bytes: int) -> str:
    """`23 GB`, `1.5 GB`, `410 MB`, `12 KB`: a GB is 2**30 bytes, as systems count memory; one decimal below ten."""
    size, unit = max(0, bytes) / 2**10, "KB"
    for larger in ("MB", "GB", "TB"):
        if round(size) < 1024:
            break
        size, unit = size / 2**10, larger
    decimals = 1 if unit in ("GB", "TB") and size < 9.95 else 0
    return f"{size:,.{decimals}f} {unit}"
