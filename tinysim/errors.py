"""What can go wrong, by whose fault it is. Every error carries one hint: the next thing to do.

TinysimError                    base; exit code 1
 +-- InputError                 what you gave cannot be used; exit code 2
 |    +-- ModelError            the .tflite file
 |    +-- ImageError            the ELF file, or a symbol asked of it
 |    +-- PartError             a part, core or platform description, or a clock it does not allow
 |    +-- CapacityError         the firmware does not fit the part
 +-- MeasurementError           a valid request that could not be measured; exit code 1
 |    +-- ToolchainError        a compiler, a source package or a tool is missing or failed
 |    +-- FaultError            the firmware faulted, ran away or touched what the part does not have
 |    +-- UnpricedError         an instruction or event the timing data has no price for
 |    +-- EngineError           the simulator itself failed or is missing
 +-- BudgetError                measured, but over a budget or worse than a baseline; exit code 3
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "BudgetError",
    "CapacityError",
    "EngineError",
    "FaultError",
    "ImageError",
    "InputError",
    "MeasurementError",
    "ModelError",
    "PartError",
    "TinysimError",
    "ToolchainError",
    "UnpricedError",
]


class TinysimError(Exception):
    """Base of every error tinysim raises on purpose.

    ``hint`` is one actionable next step; ``details`` is optional longer text (registers, a disassembly) shown below.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InputError(TinysimError, ValueError):
    """What you gave cannot be used."""

    exit_code = 2


class ModelError(InputError):
    """The model file is not a usable .tflite file, or needs what the runtime lacks."""


class ImageError(InputError):
    """The ELF file is not usable firmware for this part, or has no such symbol."""


class PartError(InputError):
    """A part, core or platform description is unknown, incomplete or wrong, or does not allow what was asked."""


class CapacityError(InputError):
    """The firmware needs more flash or RAM than the part has."""


class MeasurementError(TinysimError, RuntimeError):
    """The request was valid but could not be measured."""


class ToolchainError(MeasurementError):
    """A compiler, a source package or a tool is missing or failed."""


class FaultError(MeasurementError):
    """The firmware faulted, ran away, or touched something the part does not have."""


class UnpricedError(MeasurementError):
    """The timing data has no price for something that was executed."""


class EngineError(MeasurementError):
    """The simulator itself failed or is missing."""


class BudgetError(TinysimError):
    """Measured, but over a budget or worse than a baseline."""

    exit_code = 3
