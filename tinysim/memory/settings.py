"""The state of a part's memory system as firmware leaves it: what its register writes switched on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tinysim.errors import PartError
from tinysim.memory.description import Control, MemoryDescription, Setting
from tinysim.memory.protection import Protection, read_protection
from tinysim.part import Part

__all__ = ["Settings", "read_settings", "startup_writes"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What is switched on. ``wait_states``: as a register write set them; None where none did."""

    wait_states: int | None = None
    prefetch: bool = True
    instruction_lines: bool = True
    data_lines: bool = True
    instruction_cache: bool = True
    data_cache: bool = True
    protection: Protection = field(default_factory=Protection)

    def replace(self, **changes: object) -> Settings:
        """A copy with some settings changed, for what a user asks for (``--caches off``)."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


_SWITCHES: Mapping[Setting, tuple[str, ...]] = {
    Setting.PREFETCH: ("prefetch",),
    Setting.INSTRUCTION_LINES: ("instruction_lines",),
    Setting.DATA_LINES: ("data_lines",),
    Setting.LINES: ("instruction_lines", "data_lines"),
    Setting.INSTRUCTION_CACHE: ("instruction_cache",),
    Setting.DATA_CACHE: ("data_cache",),
}


def read_settings(description: MemoryDescription | None, writes: Iterable[tuple[int, int]]) -> Settings:
    """What 32-bit register writes (address, value), in program order, leave switched on, from the state at reset."""
    if description is None:
        return Settings()
    ordered = list(writes)
    written = dict(ordered)
    state: dict[str, bool] = {}
    wait_states = None
    for control in description.controls:
        value = written.get(control.address, control.reset)
        for setting, (low, width) in control.fields.items():
            field = value >> low & ((1 << width) - 1)
            if setting is Setting.WAIT_STATES:
                wait_states = field if control.address in written else None
            else:
                state.update(dict.fromkeys(_SWITCHES[setting], bool(field)))
    settings = Settings(wait_states=wait_states, protection=read_protection(ordered))
    return settings.replace(**state)


def startup_writes(part: Part, clock_hz: int) -> tuple[tuple[int, int], ...]:
    """The (address, value) writes by which a vendor's start-up code sets up the memory system for a clock.

    Raises PartError when the part has no wait states for the clock.
    """
    if part.memory is None:
        return ()
    found = []
    for control in part.memory.controls:
        if control.startup is None:
            continue
        value = control.startup
        if Setting.WAIT_STATES in control.fields:
            value = _with_wait_states(part, control, value, part.wait_states(clock_hz))
        found.append((control.address, value))
    return tuple(found)


def _with_wait_states(part: Part, control: Control, value: int, wait_states: int) -> int:
    low, width = control.fields[Setting.WAIT_STATES]
    mask = (1 << width) - 1
    if wait_states > mask:
        raise PartError(
            f"{wait_states} wait states do not fit bits {low + width - 1}:{low} of {control.name}",
            hint=f"check [[control]] and [wait_states] in {part.path}",
        )
    return value & ~(mask << low) | wait_states << low
