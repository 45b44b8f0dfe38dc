"""What depends on the machine: its GPU, its threads, which instructions it has, and how it lends memory."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_pages() -> None:
    """Have glibc keep freed memory for the next batch instead of giving it back; without glibc, do nothing.

    A batch frees what it took, and the next one takes as much again: on a CPU, a tenth to a fifth of its time goes
    into pages that the system clears (`benchmarks/training.py`). Kept memory lies in pieces, which costs a part of it.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        # Older versions refuse more than 32 MiB. Setting the other alone would make them map every tensor anew.
        if mallopt(M_MMAP_THRESHOLD, 2**30) or mallopt(M_MMAP_THRESHOLD, 2**25):
            mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def computes_bfloat16() -> bool:
    """Tell whether this machine has instructions for bfloat16; without them it takes longer than float32."""
    import torch

    if torch.cuda.is_available():
        return True
    known = getattr(torch.cpu, "get_capabilities", None)  # older versions of torch lack it
    features = known() if known else {}
    return any(features.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))


@functools.cache
def has_avx512() -> bool:
    """Tell whether this machine has the widest instructions of x86, as Linux says it."""
    try:
        return "avx512f" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def has_gpu() -> bool:
    """Tell whether CUDA's driver sees a GPU, without torch, which takes seconds to import."""
    count = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except (OSError, AttributeError):
        return False


def threads() -> int:
    """Return how many threads may compute: as many as OMP_NUM_THREADS says, else one per processor of this process."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    mine = getattr(os, "sched_getaffinity", None)  # macOS and Windows lack it
    return len(mine(0)) if mine else os.cpu_count() or 1
