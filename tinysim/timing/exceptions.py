"""What exceptions cost on top of the instructions of their handlers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tinysim.core import Core
from tinysim.engine.run import ExceptionCount

__all__ = ["ExceptionPrices"]


@dataclass(frozen=True, slots=True)
class ExceptionPrices:
    """Cycles of one entry, one tail-chain, one return, and of moving the FPU's registers once."""

    entry: int
    chain: int
    leave: int
    fp: int

    @classmethod
    def of(cls, core: Core) -> ExceptionPrices:
        """The prices of a core. Raises PartError when its file lacks one."""
        return cls(
            core.value("exception_entry"), core.value("exception_chain"), core.value("exception_return"),
            core.value("exception_fp"),
        )  # fmt: skip

    def cycles(self, count: ExceptionCount) -> int:
        """The cycles of what one count holds."""
        return (
            count.entries * self.entry
            + count.chained * self.chain
            + count.returns * self.leave
            + (count.stacked_fp + count.unstacked_fp) * self.fp
        )

    def total(self, counts: Iterable[ExceptionCount]) -> int:
        """The cycles of all counts."""
        return sum(self.cycles(count) for count in counts)
