"""Native code: numba with a compile cache that notices changes in every module it was built from.

numba's own cache looks at the file of the function alone; the hooks, pipelines and memory systems inline functions and
constants of other modules.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["native", "native_callback"]


@cache
def _stamp() -> tuple[float, int]:
    package = Path(__file__).resolve().parent
    folders = (package / "engine", package / "timing", package / "memory")
    files = [*(file for folder in folders for file in sorted(folder.glob("*.py"))), package / "isa.py"]
    return max(file.stat().st_mtime for file in files), sum(file.stat().st_size for file in files)


def native(function: Callable[..., Any]) -> Any:
    """Compiles a function at its first call and keeps the result between processes."""
    from numba import njit

    compiled = njit(cache=True, nogil=True)(function)
    _watch_all(compiled)
    return compiled


def native_callback(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compiles a function of this numba signature at once, for C to call (``.address``), and keeps the result too."""

    def compiled(function: Callable[..., Any]) -> Any:
        from numba.core.ccallback import CFunc
        from numba.core.sigutils import normalize_signature

        result = CFunc(function, normalize_signature(signature), locals={}, options={})
        result.enable_caching()
        _watch_all(result)
        result.compile()
        return result

    return compiled


def _watch_all(compiled: Any) -> None:
    """Make the cache of a compiled function depend on all modules with native code."""
    store = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if store is not None and hasattr(store, "_source_stamp"):
        store._source_stamp = _stamp()
