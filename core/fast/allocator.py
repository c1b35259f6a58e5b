"""Keeping memory that was freed, instead of handing it back to the system after every use."""

import ctypes
import ctypes.util
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # glibc's malloc.h


def keep_freed_memory() -> None:
    """Let this process, which does nothing but train, keep its freed memory for its next step.

    A step asks for the same large tensors as the one before. The C library would give each back to the system when it
    is freed, and get it again page by page, zeroed: a quarter of the time of a large model's step. Does nothing where
    the C library is another than glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
