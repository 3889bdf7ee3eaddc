"""The system control space at 0xE000E000 and its neighbours: NVIC, SCB, FPU, MPU and cache registers, SysTick, DWT,
ITM.

Addresses and fields: ARMv7-M Architecture Reference Manual (DDI 0403E.e), B3.2 to B3.5 and C1. What the emulator has
of all this is not used: it has no NVIC, SysTick, DWT or SCB, ignores CPACR (floating-point instructions run whatever
it says; the counting hook looks for them instead), CCR.UNALIGN_TRP and CCR.DIV_0_TRP, and runs LDM, LDRD and STRD on
unaligned addresses that fault on silicon.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tinysim.engine.interrupts import FIRST_EXTERNAL, Exceptions, Interrupts
from tinysim.engine.systick import SysTick

__all__ = ["CacheShape", "CycleCounter", "FaultStatus", "Identity", "Instrumentation", "SystemControl"]

_SYSTICK = range(0x010, 0x020, 4)
_SET_ENABLE, _CLEAR_ENABLE, _SET_PENDING, _CLEAR_PENDING, _ACTIVE = (
    range(start, start + 0x40, 4) for start in (0x100, 0x180, 0x200, 0x280, 0x300)
)
_PRIORITY = range(0x400, 0x5F0, 4)
_CPUID, _ICSR, _VTOR, _AIRCR, _SCR, _CCR, _SHPR, _SHCSR, _CFSR, _HFSR, _DFSR, _MMFAR, _BFAR, _AFSR = (
    0xD00,
    0xD04,
    0xD08,
    0xD0C,
    0xD10,
    0xD14,
    range(0xD18, 0xD24, 4),
    0xD24,
    0xD28,
    0xD2C,
    0xD30,
    0xD34,
    0xD38,
    0xD3C,
)
_FEATURES = range(0xD40, 0xD74, 4)
_CLIDR, _CTR, _CCSIDR, _CSSELR, _CPACR = 0xD78, 0xD7C, 0xD80, 0xD84, 0xD88
_MPU_TYPE, _MPU = 0xD90, range(0xD94, 0xDBC, 4)
_DEBUG = range(0xDF0, 0xE00, 4)
_STIR, _FPCCR, _FPCAR, _FPDSCR = 0xF00, 0xF34, 0xF38, 0xF3C
_MEDIA = range(0xF40, 0xF4C, 4)
_MAINTENANCE = range(0xF50, 0xF7C, 4)
_CACHE_CONTROL = range(0xF90, 0xFAC, 4)
_VECTKEY = 0x05FA
_SHARED_FAULTS = {
    0: Exceptions.MEMORY_MANAGEMENT,
    1: Exceptions.BUS_FAULT,
    3: Exceptions.USAGE_FAULT,
    7: Exceptions.SVCALL,
    8: Exceptions.DEBUG_MONITOR,
    10: Exceptions.PENDSV,
    11: Exceptions.SYSTICK,
}
_SHARED_PENDING = {
    12: Exceptions.USAGE_FAULT,
    13: Exceptions.MEMORY_MANAGEMENT,
    14: Exceptions.BUS_FAULT,
    15: Exceptions.SVCALL,
}
_SHARED_ENABLED = {16: Exceptions.MEMORY_MANAGEMENT, 17: Exceptions.BUS_FAULT, 18: Exceptions.USAGE_FAULT}


@dataclass(frozen=True, slots=True)
class CacheShape:
    """A level-1 cache as CCSIDR describes it. ``line_bytes`` and ``sets`` are powers of two."""

    sets: int
    ways: int
    line_bytes: int

    @property
    def identifier(self) -> int:
        """CCSIDR: all write policies, sets - 1, ways - 1, log2 of the line's words - 2."""
        return 0xF << 28 | (self.sets - 1) << 13 | (self.ways - 1) << 3 | (self.line_bytes.bit_length() - 1 - 4)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a core says about itself. ``features``: the words at 0xE000ED40; ``media``: MVFR0 to MVFR2."""

    cpuid: int
    features: tuple[int, ...] = ()
    media: tuple[int, ...] = ()
    mpu_regions: int = 8
    clidr: int = 0
    ctr: int = 0
    instruction_cache: CacheShape | None = None
    data_cache: CacheShape | None = None


@dataclass
class FaultStatus:
    """The fault status and address registers."""

    cfsr: int = 0
    hfsr: int = 0
    mmfar: int = 0
    bfar: int = 0


@dataclass
class SystemControl:
    """The registers at 0xE000E000.

    ``current_exception`` gives IPSR; ``changed`` is called when what is pending, enabled or masked may have changed;
    ``reset_requested`` when software asks for a reset.
    """

    identity: Identity
    interrupts: Interrupts
    systick: SysTick
    has_fpu: bool
    vector_table: int
    current_exception: Callable[[], int]
    changed: Callable[[], None]
    reset_requested: Callable[[], None]
    faults: FaultStatus = field(default_factory=FaultStatus)
    name: str = "SCS"
    base: int = 0xE000E000
    size: int = 0x1000

    def __post_init__(self) -> None:
        self.coprocessors = 0
        self.fpccr = 0xC0000000 if self.has_fpu else 0  # ASPEN and LSPEN
        self._kept = {_SCR: 0, _CCR: 0x200, _CSSELR: 0, _FPCAR: 0, _FPDSCR: 0}
        self._mpu: dict[int, int] = {}
        self._mpu_regions: dict[tuple[int, int], int] = {}

    @property
    def fpu_enabled(self) -> bool:
        """Whether CPACR lets privileged code use the FPU."""
        return self.has_fpu and self.coprocessors >> 20 & 0xF in (0x5, 0xF)

    @property
    def aligns_stack(self) -> bool:
        """CCR.STKALIGN: exceptions align the stack to eight bytes."""
        return bool(self._kept[_CCR] & 0x200)

    @property
    def lazy_stacking(self) -> bool:
        """FPCCR.LSPEN: the FPU's registers are stacked when a handler first uses the FPU."""
        return bool(self.fpccr & 0x40000000)

    @property
    def sleeps_on_exit(self) -> bool:
        """SCR.SLEEPONEXIT."""
        return bool(self._kept[_SCR] & 2)

    @property
    def sends_event_on_pend(self) -> bool:
        """SCR.SEVONPEND."""
        return bool(self._kept[_SCR] & 16)

    @property
    def fpu_default_status(self) -> int:
        """FPDSCR: FPSCR of a new floating-point context."""
        return self._kept[_FPDSCR]

    # ---- reading ----

    def read(self, offset: int) -> int | None:
        """A register's value."""
        if offset in _SYSTICK:
            return self.systick.read(offset - 0x10)
        for registers, held in (
            (_SET_ENABLE, self.interrupts.enabled),
            (_CLEAR_ENABLE, self.interrupts.enabled),
            (_SET_PENDING, self.interrupts.pending),
            (_CLEAR_PENDING, self.interrupts.pending),
            (_ACTIVE, self.interrupts.active),
        ):
            if offset in registers:
                first = FIRST_EXTERNAL + 8 * (offset - registers.start)
                return sum(1 << bit for bit in range(32) if first + bit in held)
        if offset in _PRIORITY or offset in _SHPR:
            first = FIRST_EXTERNAL + offset - _PRIORITY.start if offset in _PRIORITY else 4 + offset - _SHPR.start
            return sum(self._priority(first + n) << 8 * n for n in range(4))
        if offset == 0x004:
            return (self.interrupts.count + 31) // 32 - 1  # ICTR
        if offset == 0x008:
            return 0  # ACTLR
        if offset in self._kept:
            return self._kept[offset]
        if offset in _FEATURES:
            index = (offset - _FEATURES.start) // 4
            return self.identity.features[index] if index < len(self.identity.features) else 0
        if offset in _MEDIA:
            index = (offset - _MEDIA.start) // 4
            return self.identity.media[index] if self.has_fpu and index < len(self.identity.media) else 0
        if offset in _MPU:
            return self._read_mpu(offset)
        if offset in _MAINTENANCE or offset in _CACHE_CONTROL or offset in (_DFSR, _AFSR, _STIR) or offset in _DEBUG:
            return 0
        return self._read_one(offset)

    def _priority(self, number: int) -> int:
        return self.interrupts.priority(number) if 4 <= number < FIRST_EXTERNAL + self.interrupts.count else 0

    def _read_one(self, offset: int) -> int | None:
        identity = self.identity
        selected = identity.instruction_cache if self._kept[_CSSELR] & 1 else identity.data_cache
        readers: dict[int, Callable[[], int]] = {
            _CPUID: lambda: identity.cpuid,
            _ICSR: self._icsr,
            _VTOR: lambda: self.vector_table,
            _AIRCR: lambda: 0xFA05 << 16 | (self.interrupts.group_shift - 1) << 8,
            _SHCSR: self._shcsr,
            _CFSR: lambda: self.faults.cfsr,
            _HFSR: lambda: self.faults.hfsr,
            _MMFAR: lambda: self.faults.mmfar,
            _BFAR: lambda: self.faults.bfar,
            _CLIDR: lambda: identity.clidr,
            _CTR: lambda: identity.ctr,
            _CCSIDR: lambda: selected.identifier if selected else 0,
            _CPACR: lambda: self.coprocessors,
            _MPU_TYPE: lambda: identity.mpu_regions << 8,
            _FPCCR: lambda: self.fpccr,
        }
        reader = readers.get(offset)
        return reader() if reader else None

    def _icsr(self) -> int:
        state, running = self.interrupts, self.current_exception()
        best = state.best()
        value = running | (best or 0) << 12
        value |= (len(state.active) < 2) << 11  # RETTOBASE
        value |= any(n >= FIRST_EXTERNAL for n in state.pending) << 22  # ISRPENDING
        for bit, number in ((26, Exceptions.SYSTICK), (28, Exceptions.PENDSV), (31, Exceptions.NMI)):
            value |= (number in state.pending) << bit
        return value

    def _shcsr(self) -> int:
        state = self.interrupts
        value = 0
        for table, held in (
            (_SHARED_FAULTS, state.active),
            (_SHARED_PENDING, state.pending),
            (_SHARED_ENABLED, state.enabled),
        ):
            for bit, number in table.items():
                value |= (number in held) << bit
        return value

    def _read_mpu(self, offset: int) -> int:
        if offset in (0xD94, 0xD98):
            return self._mpu.get(offset, 0)
        region = self._mpu.get(0xD98, 0)
        which = 0xD9C if (offset - 0xD9C) % 8 == 0 else 0xDA0
        value = self._mpu_regions.get((region, which), 0)
        return value & ~0x1F | region if which == 0xD9C else value

    # ---- writing ----

    def write(self, offset: int, value: int, lanes: int) -> bool:
        """Write a register."""
        state = self.interrupts
        if offset in _SYSTICK:
            self.systick.write(offset - 0x10, value)
            self.changed()
        elif offset in _SET_ENABLE or offset in _CLEAR_ENABLE or offset in _SET_PENDING or offset in _CLEAR_PENDING:
            registers, held, add = next(
                (r, h, a)
                for r, h, a in (
                    (_SET_ENABLE, state.enabled, True),
                    (_CLEAR_ENABLE, state.enabled, False),
                    (_SET_PENDING, state.pending, True),
                    (_CLEAR_PENDING, state.pending, False),
                )
                if offset in r
            )
            first = FIRST_EXTERNAL + 8 * (offset - registers.start)
            numbers = {
                first + bit for bit in range(32) if value >> bit & 1 and first + bit < FIRST_EXTERNAL + state.count
            }
            held.update(numbers) if add else held.difference_update(numbers)
            self.changed()
        elif offset in _PRIORITY or offset in _SHPR:
            first = FIRST_EXTERNAL + offset - _PRIORITY.start if offset in _PRIORITY else 4 + offset - _SHPR.start
            for n in range(4):
                if lanes >> 8 * n & 0xFF:
                    state.set_priority(first + n, value >> 8 * n & 0xFF)
            self.changed()
        elif offset in self._kept:
            self._kept[offset] = self._kept[offset] & ~lanes | value
        elif offset in _MPU:
            self._write_mpu(offset, value)
        elif offset in _MAINTENANCE or offset in _CACHE_CONTROL or offset in _DEBUG or offset in (_DFSR, _AFSR, 0x008):
            pass  # caches hold no data of their own here: there is nothing to clean or invalidate
        else:
            return self._write_one(offset, value, lanes)
        return True

    def _write_one(self, offset: int, value: int, lanes: int) -> bool:
        state = self.interrupts
        if offset == _ICSR:
            for number, pend, clear in (
                (Exceptions.NMI, 31, None),
                (Exceptions.PENDSV, 28, 27),
                (Exceptions.SYSTICK, 26, 25),
            ):
                if value >> pend & 1:
                    state.pending.add(number)
                elif clear is not None and value >> clear & 1:
                    state.pending.discard(number)
        elif offset == _VTOR:
            self.vector_table = value & 0xFFFFFF80
        elif offset == _AIRCR:
            if value >> 16 == _VECTKEY:
                state.set_grouping(value >> 8 & 7)
                if value & 4:
                    self.reset_requested()
        elif offset == _SHCSR:
            for bit, number in _SHARED_ENABLED.items():
                (state.enabled.add if value >> bit & 1 else state.enabled.discard)(number)
        elif offset == _CFSR:
            self.faults.cfsr &= ~value
        elif offset == _HFSR:
            self.faults.hfsr &= ~value
        elif offset == _MMFAR:
            self.faults.mmfar = value
        elif offset == _BFAR:
            self.faults.bfar = value
        elif offset == _CPACR:
            self.coprocessors = self.coprocessors & ~lanes | value
        elif offset == _STIR:
            state.pending.add(FIRST_EXTERNAL + (value & 0x1FF))
        elif offset == _FPCCR:
            self.fpccr = value
        elif (
            offset not in (_CPUID, _CLIDR, _CTR, _CCSIDR, _MPU_TYPE)
            and offset not in _FEATURES
            and offset not in _MEDIA
        ):
            return False
        self.changed()
        return True

    def _write_mpu(self, offset: int, value: int) -> None:
        if offset in (0xD94, 0xD98):
            self._mpu[offset] = value
            return
        region = self._mpu.get(0xD98, 0)
        which = 0xD9C if (offset - 0xD9C) % 8 == 0 else 0xDA0
        if which == 0xD9C and value & 0x10:
            region = self._mpu[0xD98] = value & 0xF
        self._mpu_regions[region, which] = value


@dataclass
class CycleCounter:
    """The DWT unit: CYCCNT in priced cycles; its comparators and other counters are storage that stays idle."""

    now: Callable[[], int]
    debug: DebugControl
    name: str = "DWT"
    base: int = 0xE0001000
    size: int = 0x1000

    def __post_init__(self) -> None:
        self._control = 0x40000000  # four comparators
        self._origin = 0
        self._stopped_at = 0
        self._words: dict[int, int] = {}

    @property
    def counts(self) -> bool:
        """Whether CYCCNT runs."""
        return bool(self._control & 1)

    def _value(self) -> int:
        return (self.now() - self._origin if self.counts else self._stopped_at) & 0xFFFFFFFF

    def read(self, offset: int) -> int | None:
        """CTRL, CYCCNT, or what was stored."""
        if offset == 0:
            return self._control
        if offset == 4:
            return self._value()
        return self._words.get(offset, 0)

    def write(self, offset: int, value: int, lanes: int) -> bool:
        """Start, stop or set the counter."""
        if offset == 0:
            here = self._value()
            self._control = self._control & 0xF0000000 | value & 0x0FFFFFFF
            self._stopped_at = here
            if self.counts:
                self._origin = self.now() - here
        elif offset == 4:
            self._stopped_at = value
            if self.counts:
                self._origin = self.now() - value
        else:
            self._words[offset] = self._words.get(offset, 0) & ~lanes | value
        return True


@dataclass
class DebugControl:
    """DHCSR to DEMCR, of which firmware sets TRCENA."""

    name: str = "CoreDebug"
    base: int = 0xE000EDF0
    size: int = 0x10

    def __post_init__(self) -> None:
        self.trace_enabled = False
        self._monitor = 0

    def read(self, offset: int) -> int | None:
        """DHCSR reads as without a debugger."""
        return self._monitor if offset == 0xC else 0

    def write(self, offset: int, value: int, lanes: int) -> bool:
        """Keep DEMCR."""
        if offset == 0xC:
            self._monitor = self._monitor & ~lanes | value
            self.trace_enabled = bool(self._monitor & 1 << 24)
        return True


@dataclass
class Instrumentation:
    """The ITM: stimulus ports always ready, port 0 as text."""

    write_text: Callable[[bytes], None]
    name: str = "ITM"
    base: int = 0xE0000000
    size: int = 0x1000

    def __post_init__(self) -> None:
        self._words: dict[int, int] = {}

    def read(self, offset: int) -> int | None:
        """A stimulus port reads 1: its queue has room."""
        return 1 if offset < 0x80 else self._words.get(offset, 0)

    def write(self, offset: int, value: int, lanes: int) -> bool:
        """Bytes to port 0 are text; the other ports go nowhere."""
        if offset == 0:
            count = lanes.bit_count() // 8
            shift = (lanes & -lanes).bit_length() - 1
            self.write_text((value >> shift).to_bytes(count, "little"))
        elif offset >= 0x80:
            self._words[offset] = self._words.get(offset, 0) & ~lanes | value
        return True
