"""Programs for the machine: C or assembly with a vector table, built once each, run on a part of the catalogue."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tinysim.clock import KeysClock
from tinysim.core import Pipeline, load_core
from tinysim.engine.run import MeasuredRegion, Run
from tinysim.engine.unicorn_machine import Ending, Machine
from tinysim.estimate import Estimate
from tinysim.image import load_image
from tinysim.part import Part, load_part

GCC = "arm-none-eabi-gcc"
ROOT = Path(__file__).parents[2]
SCRIPT = """
ENTRY(reset)
MEMORY { FLASH (rx) : ORIGIN = 0x08000000, LENGTH = 512K
         RAM (rwx) : ORIGIN = 0x20000000, LENGTH = 64K }
SECTIONS {
  .vectors : { KEEP(*(.vectors)) } > FLASH
  .text : { *(.text*) *(.rodata*) } > FLASH
  .data : { *(.data*) } > RAM AT > FLASH
  .bss (NOLOAD) : { *(.bss*) *(COMMON) } > RAM
  stack_top = 0x20008000;
  /DISCARD/ : { *(.ARM.exidx*) }
}
"""
PRELUDE = """
#include <stdint.h>
#define R(a) (*(volatile uint32_t *)(a))
#define CPACR R(0xE000ED88)
#define ICSR R(0xE000ED04)
#define SHCSR R(0xE000ED24)
#define CFSR R(0xE000ED28)
#define CYCCNT R(0xE0001004)
extern uint8_t stack_top[];
void reset(void);
void program(void);
void halt(void);
void done(void);
#define isb() __asm volatile("dsb\\n isb" ::: "memory")
#define SVC(n) __asm volatile("svc " #n ::: "memory")
"""
START = (
    PRELUDE
    + """
#define HANDLER(name) __attribute__((weak)) void name(void) { for (;;) ; }
HANDLER(hard_fault) HANDLER(mem_manage) HANDLER(bus_fault) HANDLER(usage_fault)
HANDLER(svc) HANDLER(pendsv) HANDLER(systick) HANDLER(irq0) HANDLER(irq1) HANDLER(irq2)
__attribute__((section(".vectors"), used)) void *const vectors[16 + 96] = {
    stack_top, reset, halt, hard_fault, mem_manage, bus_fault, usage_fault, 0, 0, 0, 0,
    svc, 0, 0, pendsv, systick, irq0, irq1, irq2, [16 + 37] = irq2};
__attribute__((noinline)) void done(void) { __asm volatile(""); }
void halt(void) { for (;;) ; }
void reset(void) { program(); done(); halt(); }
"""
)


@dataclass
class Ran:
    """A program that ran to ``done`` (or how it ended)."""

    machine: Machine
    run: Run
    ending: Ending
    estimate: Estimate

    def word(self, name: str, index: int = 0) -> int:
        """A 32-bit variable."""
        address = self.machine.image.symbol(name).address + 4 * index
        return int.from_bytes(self.machine.read(address, 4), "little")

    def cycles(self) -> int:
        """Cycles of all that ran."""
        return self.estimate.region(None, 1_000_000).cycles


@dataclass
class Bench:
    """Builds and runs programs."""

    folder: Path
    built: dict[str, Path] = field(default_factory=dict)

    def build(self, source: str, *options: str, core: str = "cortex-m4", fpu: str = "fpv4-sp-d16") -> Path:
        """An ELF file from C after PRELUDE."""
        key = "|".join((source, core, fpu, *options))
        if key not in self.built:
            name = f"p{len(self.built)}"
            code, script, elf = self.folder / f"{name}.c", self.folder / "program.ld", self.folder / f"{name}.elf"
            start = self.folder / "start.c"
            start.write_text(START)
            code.write_text(PRELUDE + source)
            script.write_text(SCRIPT)
            flags = (
                f"-mcpu={core}",
                f"-mfpu={fpu}",
                "-mfloat-abi=hard",
                "-mthumb",
                "-nostdlib",
                "-ffreestanding",
                "-g1",
                f"-T{script}",
            )
            command = [GCC, *flags, *(options or ("-O1",)), str(code), str(start), "-lgcc", "-o", str(elf)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            self.built[key] = elf
        return self.built[key]

    def machine(
        self, elf: Path, part: Part | str = "stm32l4r5zi", regions: Sequence[str] = (), **options: object
    ) -> Machine:
        """A machine that holds a program, with a clock."""
        image = load_image(elf)
        target = load_part(part) if isinstance(part, str) else part
        core = load_core(target.core).with_fpu(target.fpu)
        options.setdefault("clock", KeysClock(core))
        options.setdefault("budget", 20_000_000)
        return Machine(
            image,
            target,
            depth=core.context_blocks,
            predict=core.pipeline is Pipeline.DUAL_ISSUE,
            regions=[MeasuredRegion(name, image.symbol(name).address) for name in regions],
            **options,  # type: ignore[arg-type]
        )

    def run(
        self, source: str, *flags: str, part: str = "stm32l4r5zi", regions: Sequence[str] = (), **options: object
    ) -> Ran:
        """Run C code (a function ``program``) until it is done."""
        core = load_core(load_part(part).core)
        fpu = "fpv5-d16" if core.name == "cortex-m7" else "fpv4-sp-d16"
        machine = self.machine(self.build(source, *flags, core=core.name, fpu=fpu), part, regions, **options)
        ending = machine.run_until_end([machine.image.symbol("done").address])
        run = machine.take()
        return Ran(machine, run, ending, Estimate.of(run, machine.image, core.with_fpu(machine.part.fpu), machine.read))


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Builds and runs programs; skips where the compiler is missing."""
    if shutil.which(GCC) is None:
        pytest.skip(f"{GCC} is not installed")
    return Bench(tmp_path_factory.mktemp("programs"))


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The example programs by name, built with their own Makefile."""
    if shutil.which(GCC) is None:
        pytest.skip(f"{GCC} is not installed")
    folder = tmp_path_factory.mktemp("examples")
    command = ["make", "-C", str(ROOT / "examples" / "firmware"), f"BUILD={folder}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return lambda name: folder / f"{name}.elf"
