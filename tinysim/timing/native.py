"""Native code of the pipelines: see `tinysim.native`."""

from __future__ import annotations

from tinysim.native import native

__all__ = ["native"]
