"""Calibration from a user's file of measurements: run each program, fit the core's open parameters, write a core file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinysim.core import load_core
from tinysim.counts import Counts
from tinysim.errors import InputError
from tinysim.measure import measure
from tinysim.memory.pricers import MemoryOptions
from tinysim.part import load_part
from tinysim.sizing import Progress
from tinysim.timing.calibrate import Calibration, Measurement, calibrate, write_core
from tinysim.tomlfile import Table, read_toml

__all__ = ["calibrate_from"]


def _measurement(table: Table, folder: Path, part: str, progress: Progress) -> Measurement:
    """Run the program of one ``[[measurement]]`` table. Raises InputError for a table that makes no sense."""
    firmware = folder / table.string("firmware")
    functions = [table.string("function")] if "function" in table else []
    between = [table.string("between")] if "between" in table else []
    until = table.string("until") if "until" in table else None
    cycles = table.number("cycles")
    table.close()
    if functions and between:
        raise table.error("give function or between, not both")
    _, measured = measure(
        firmware,
        part,
        functions=functions,
        between=between,
        until=until,
        memory=MemoryOptions(ideal=True),
        progress=progress,
    )
    run = measured.estimate.run
    region = 0 if functions or between else None
    counts: Counts = run.counts(region)
    calls = run.calls[0] if region is not None else 1
    # executions stay whole: the cycles of all calls are compared
    name = f"{firmware.name}:{(functions + between + ['program'])[0]}"
    return Measurement(
        name,
        dataclasses.replace(counts, executions=counts.executions.astype(np.uint64)),
        measured.image.read,
        cycles * calls,
    )


def calibrate_from(path: Path, part: str, output: Path, names: Sequence[str] | None, progress: Progress) -> Calibration:
    """Fit and write.

    Raises InputError, among others when ``output`` exists or when there are fewer measurements than parameters.
    """
    if output.exists():
        raise InputError(f"{output} exists", hint="choose another --output; nothing is overwritten")
    target = load_part(part)
    root = read_toml(path)
    tables = root.tables("measurement")
    root.close()
    measurements = [_measurement(table, path.parent, part, progress) for table in tables]
    fitted = calibrate(load_core(target.core).with_fpu(target.fpu), measurements, names)
    try:
        output.write_text(write_core(fitted, output.stem, measurements), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror}", hint="check the folder") from error
    return fitted
