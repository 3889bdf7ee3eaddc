"""Native code: numba with a compile cache that notices changes in every module it was built from.

numba's own cache looks at the file of the function alone; the pipelines and memory systems inline functions and
constants of other modules.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["native"]


@cache
def _stamp() -> tuple[float, int]:
    package = Path(__file__).resolve().parent
    folders = (package / "timing", package / "memory")
    files = [*(file for folder in folders for file in sorted(folder.glob("*.py"))), package / "isa.py"]
    return max(file.stat().st_mtime for file in files), sum(file.stat().st_size for file in files)


def native(function: Callable[..., Any]) -> Any:
    """Compiles a function at its first call and keeps the result between processes."""
    from numba import njit

    compiled = njit(cache=True)(function)
    store = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if store is not None and hasattr(store, "_source_stamp"):
        store._source_stamp = _stamp()
    return compiled
