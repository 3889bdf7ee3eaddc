"""Compiled objects and static libraries, kept in the per-user cache by the hash of all that went into them."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tinysim.data import cache_folder
from tinysim.toolchain import Toolchain

__all__ = ["Job", "Progress", "build_archive", "compile_jobs", "hash_of"]

Progress = Callable[[str, int, int], None]  # label, done, total


def hash_of(*parts: object) -> str:
    """SHA-256 of any values that JSON can hold; bytes count by their own hash."""
    plain = [hashlib.sha256(part).hexdigest() if isinstance(part, bytes) else part for part in parts]
    return hashlib.sha256(json.dumps(plain, default=str).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Job:
    """One source to compile. ``origin`` stands for all headers it may include: it changes when they do.
    Headers in ``system`` folders are spared warnings.

    ``prefixes`` maps folders to the names they get in debug information, so that objects do not depend on where the
    cache or the checkout is.
    """

    source: Path
    flags: tuple[str, ...]
    include: tuple[Path, ...]
    origin: str
    system: tuple[Path, ...] = ()
    prefixes: tuple[tuple[Path, str], ...] = ()

    def target(self, toolchain: Toolchain) -> Path:
        """Where the object is, or will be."""
        names = [self._plain(path) for path in (*self.include, *self.system)]
        source = self._plain(self.source), self.source.read_bytes()
        key = hash_of(toolchain.version, (*toolchain.own_flags, *self.flags), names, self.origin, *source)
        return cache_folder() / "objects" / key[:2] / f"{key}.o"

    def _plain(self, path: Path) -> str:
        for folder, name in self.prefixes:
            if path.is_relative_to(folder):
                return f"{name}/{path.relative_to(folder)}"
        return path.name

    def command(self, target: Path) -> list[str]:
        """The compiler's arguments."""
        maps = [f"-ffile-prefix-map={folder}={name}" for folder, name in self.prefixes]
        includes = [*(f"-I{path}" for path in self.include), *(f"-isystem{path}" for path in self.system)]
        return [*self.flags, *maps, *includes, "-c", str(self.source), "-o", str(target)]


def compile_jobs(toolchain: Toolchain, jobs: Sequence[Job], label: str, progress: Progress | None) -> list[Path]:
    """The objects of all jobs, in order; those not in the cache are compiled, as many at a time as there are cores.

    Raises ToolchainError with the first error lines of the compiler.
    """
    targets = [job.target(toolchain) for job in jobs]
    missing = [(job, target) for job, target in zip(jobs, targets, strict=True) if not target.exists()]
    if not missing:
        return targets
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        running = [pool.submit(_compile, toolchain, job, target) for job, target in missing]
        if progress:
            progress(label, 0, len(running))
        try:
            for done, future in enumerate(as_completed(running), start=1):
                future.result()
                if progress:
                    progress(label, done, len(running))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return targets


def _compile(toolchain: Toolchain, job: Job, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as scratch:
        made = Path(scratch) / "made.o"
        toolchain.run(job.command(made), f"compiling {job.source.name}", job.source.parent)
        made.replace(target)


def build_archive(toolchain: Toolchain, name: str, objects: Iterable[Path]) -> Path:
    """A static library of cached objects; its name holds their hash."""
    members = list(objects)
    key = hash_of(name, [path.stem for path in members])
    target = cache_folder() / "libraries" / f"lib{name}-{key[:24]}.a"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as scratch:
            made = Path(scratch) / "made.a"
            toolchain.archive(made, members)
            made.replace(target)
    return target
