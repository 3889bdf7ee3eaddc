"""Single effects as small assembly programs: built, run and priced like any firmware, beside the cycles a source
states.

The file that holds them says what a body may use; `cycles` of a body is what it adds to a function of padding.
"""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinysim.core import Core, Pipeline, load_core
from tinysim.engine.run import MeasuredRegion
from tinysim.engine.unicorn_machine import Machine
from tinysim.errors import InputError, PartError
from tinysim.estimate import Estimate
from tinysim.image import Image, load_image
from tinysim.memory.config import ideal
from tinysim.memory.pricers import MemoryPricers
from tinysim.part import Part, load_part, part_names
from tinysim.timing.evidence import Evidence
from tinysim.toolchain import FloatAbi, find_toolchain, machine_flags

__all__ = ["Microbenchmark", "load_microbenchmarks", "measure_effects"]

CODE, DATA, DATA_BYTES = 0x08000000, 0x20000000, 0x8000
_PADDING = "mov r9, r9\n" * 8
_FUNCTIONS = ("with_body", "without_body")
_PROGRAM = """
.syntax unified
.thumb
.text
.word {stack}
.word reset + 1
.balign 8
.macro setup
push {{r4-r11, lr}}
ldr r0, =0x20000100
str r0, [r0]
add r1, r0, #256
movs r2, #8
movs r3, #3
movs r4, #4
movs r5, #5
movs r6, #6
movs r7, #7
mov r8, r7
vmov.f32 s0, #1.0
.irp n, 1,2,3,4,5,6,7,8,9,10,11,12
vmov.f32 s\\n, s0
.endr
b 9f
.ltorg
.balign 8
9:
.endm
.global reset, with_body, without_body, finish
.thumb_func
.type reset, %function
reset:
ldr r0, =0xE000ED88
ldr r1, [r0]
orr r1, r1, #(0xF << 20)
str r1, [r0]
dsb
isb
bl with_body
bl without_body
bl finish
.thumb_func
.type finish, %function
finish:
b finish
.ltorg
.balign 8
.thumb_func
.type with_body, %function
with_body:
setup
{before}{body}{after}pop {{r4-r11, pc}}
.balign 8
.thumb_func
.type without_body, %function
without_body:
setup
{before}{after}pop {{r4-r11, pc}}
"""


@dataclass(frozen=True, slots=True)
class Microbenchmark:
    """One effect. ``repeat`` copies of ``body``, shifted by ``align`` halfwords, take ``cycles``."""

    name: str
    core: str
    body: str
    cycles: float
    repeat: int
    align: int
    source: str
    confidence: str

    def program(self, pipeline: Pipeline) -> str:
        """The assembly program: a function with the body and one without.

        On a dual-issue core what comes before and after overlaps, so twice the body is compared with once.
        """
        body = (self.body.strip() + "\n") * self.repeat
        before = body if pipeline is Pipeline.DUAL_ISSUE else ""
        return _PROGRAM.format(
            stack=DATA + DATA_BYTES, before=_PADDING + "mov r9, r9\n" * self.align + before, body=body, after=_PADDING
        )


def load_microbenchmarks(path: Path) -> tuple[Microbenchmark, ...]:
    """The effects in a file. Raises InputError when it cannot be read or lacks something."""
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8"))["benchmark"]
        return tuple(
            Microbenchmark(
                row["name"],
                row["core"],
                row["body"],
                float(row["cycles"]),
                int(row.get("repeat", 1)),
                int(row.get("align", 0)),
                row["source"],
                row["confidence"],
            )
            for row in rows
        )
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}", hint="give the file of the microbenchmarks"
        ) from error
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not a file of microbenchmarks: {error}", hint="see tests/timing/microbenchmarks.toml"
        ) from error


def measure_effects(benchmarks: Sequence[Microbenchmark]) -> tuple[Evidence, ...]:
    """What each effect costs here, on ideal memory.

    Raises ToolchainError when a program cannot be built, and what `tinysim.run` raises.
    """
    parts = {name: _part_with(name) for name in dict.fromkeys(benchmark.core for benchmark in benchmarks)}
    with tempfile.TemporaryDirectory() as folder:
        return tuple(
            Evidence(
                benchmark.name,
                benchmark.core,
                " ; ".join(benchmark.body.strip().split("\n")[:4]),
                benchmark.cycles,
                _cycles(benchmark, parts[benchmark.core], Path(folder)),
                benchmark.source,
                benchmark.confidence,
                chosen=True,
            )
            for benchmark in benchmarks
        )


def _part_with(core: str) -> Part:
    """A part of the catalogue that has the core, and memory where the programs are linked."""
    for name in part_names():
        part = load_part(name)
        code, data = part.region_at(CODE), part.region_at(DATA + DATA_BYTES - 4)
        if part.core == core and code is not None and data is not None and data.base == DATA:
            return part
    raise PartError(f"no part of the catalogue has a {core} with flash at {CODE:#x} and RAM at {DATA:#x}")


def _cycles(benchmark: Microbenchmark, part: Part, folder: Path) -> int:
    core = load_core(part.core).with_fpu(part.fpu)
    source, elf = folder / "program.s", folder / "program.elf"
    source.write_text(benchmark.program(core.pipeline))
    find_toolchain().link(
        [
            *machine_flags(part.core, part.fpu, FloatAbi.HARD),
            "-nostdlib",
            f"-Wl,-Ttext={CODE:#x}",
            "-Wl,-ereset",
            "-Wl,--no-warn-rwx-segments",
            str(source),
            "-o",
            str(elf),
        ],
        f"assembling {benchmark.name!r}",
    )
    with_body, without_body = _priced(load_image(elf), part, core)
    return with_body - without_body


def _priced(image: Image, part: Part, core: Core) -> list[int]:
    """Cycles of each function. As a stream: addresses of data decide on some effects, and keys do not hold them."""
    pricers = MemoryPricers.of_systems(part, core, [ideal(part)])
    machine = Machine(
        image,
        part,
        depth=core.context_blocks,
        predict=core.pipeline is Pipeline.DUAL_ISSUE,
        record=pricers.feed,
        regions=[MeasuredRegion(name, image.symbol(name).address) for name in _FUNCTIONS],
    )
    pricers.start(machine)
    machine.run_to(image.symbol("finish").address)
    run = machine.take()
    estimate = Estimate.of_stream(run, image, pricers.finish()[0])
    return [estimate.region(number, part.default_clock_hz).cycles for number in range(len(_FUNCTIONS))]
