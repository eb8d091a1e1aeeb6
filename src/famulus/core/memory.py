"""What the C library does with memory that is free again."""

from functools import cache

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 256 * 1024


@cache
def give_back_large_blocks() -> None:
    """From now on large blocks are the system's again as soon as they are free.

    glibc keeps what was freed once for the next time, up to 32 MiB a thread: the first login left
    20 MiB behind for good. Other C libraries have no such setting, and need none.
    """
    import ctypes  # noqa: PLC0415 - starts need it only once something large comes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
