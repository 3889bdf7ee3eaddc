"""Sizing: firmware whose tensor arena is just as large as the runtime needs, found by running its set-up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tinysim.engine.unicorn_machine import Machine
from tinysim.errors import FaultError, ModelError
from tinysim.firmware import Firmware, FloatAbi, Kernels, OperatorUse, Opt, build
from tinysim.footprint import check_capacity, footprint
from tinysim.image import Image, load_image
from tinysim.model import Model
from tinysim.part import Part, Region

if TYPE_CHECKING:
    from tinysim.renode.machine import RenodeMachine

__all__ = ["BuildOptions", "Progress", "Record", "build_fitting", "operators_used", "set_up", "silent"]

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many steps are done, and how many there are (0: unknown)."""

_MAGIC = 0x544E5953
_RECORD_WORDS = 5 + 3 * 8
_ARENA_STEP_BYTES = 16


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How to build the firmware of a model."""

    kernels: Kernels = Kernels.CMSIS_NN
    opt: Opt = Opt.O2
    float_abi: FloatAbi = FloatAbi.HARD
    cc: str | None = None


def silent(_what: str, _done: int, _total: int) -> None:
    """No progress is shown."""


def operators_used(model: Model) -> tuple[OperatorUse, ...]:
    """The operators the resolver needs, each once, at the highest version used."""
    versions: dict[str, int] = {}
    for operator in model.operators:
        versions[operator.name] = max(operator.version, versions.get(operator.name, 0))
    return tuple(OperatorUse(name, version) for name, version in versions.items())


def build_fitting(model: Model, part: Part, options: BuildOptions, progress: Progress = silent) -> Firmware:
    """Firmware with a tensor arena of just the size the runtime needs, found by running it.

    A first link with far too much memory runs the set-up and says what it needs. Raises CapacityError when the part has
    less.
    """

    def built(arena_bytes: int | None, oversized: bool) -> Firmware:
        return build(
            model.path,
            part,
            operators=operators_used(model),
            kernels=options.kernels,
            opt=options.opt,
            float_abi=options.float_abi,
            cc=options.cc,
            arena_bytes=arena_bytes,
            oversized=oversized,
            progress=progress,
        )

    trial = built(None, True)
    progress(f"sizing the tensor arena of {model.name}", 0, 0)
    image = load_image(trial.path)
    roomy = _Roomy.of(image, part)
    machine = Machine(image, part, depth=1, predict=False, memory=roomy.memory)
    arena_bytes = -(-set_up(machine, model).arena_used // _ARENA_STEP_BYTES) * _ARENA_STEP_BYTES
    sizes = footprint(image, roomy.part, stack_peak_bytes=0)
    weights_in_ram = sum(section.bytes for section in sizes.sections if section.purpose == "weights" and section.in_ram)
    data_bytes = sizes.ram_bytes - (sizes.arena_bytes or 0) - weights_in_ram
    needed = {"code": sizes.flash_bytes, "data": data_bytes + trial.stack_bytes, "arena": arena_bytes}
    check_capacity(part, needed | ({"weights": weights_in_ram} if weights_in_ram else {}), model.name)
    for slack in (0, 256, 1024, 4096, 16384):  # planning needs some bytes more than what stays in use
        firmware = built(arena_bytes + slack, False)
        machine = Machine(load_image(firmware.path), part, depth=1, predict=False)
        try:
            set_up(machine, model)
        except FaultError:
            continue
        return firmware
    raise ModelError(
        f"the runtime cannot plan {model.name} in {arena_bytes + slack} bytes of arena", hint="report this model"
    )


@dataclass(frozen=True, slots=True)
class _Roomy:
    """A part whose memories are as large as an oversized link made them."""

    part: Part
    memory: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, image: Image, part: Part) -> _Roomy:
        """Memories that hold all the image puts there; those that touch or overlap then are one."""
        spans = [(region.base, region.end, region) for region in part.regions]
        for section in image.sections:
            for address in (section.address, section.load_address):
                home = max((r for r in part.regions if r.base <= address), key=lambda r: r.base, default=None)
                if home is not None:
                    spans.append((home.base, address + section.bytes, home))
        stack = image.symbol("__stack_top").address
        merged: list[Region] = []
        for base, end, region in sorted(spans, key=lambda span: (span[0], span[1])):
            if merged and base < merged[-1].end:
                merged[-1] = dataclasses.replace(merged[-1], size=max(merged[-1].end, end) - merged[-1].base)
            else:
                merged.append(dataclasses.replace(region, size=end - base, aliases=()))
        if not any(r.base < stack <= r.end for r in merged):
            home = max((r for r in merged if r.base < stack), key=lambda r: r.base)
            merged[merged.index(home)] = dataclasses.replace(home, size=stack - home.base)
        return cls(
            dataclasses.replace(part, regions=tuple(merged)),
            {r.name: (r.base, -(-r.size // 4096) * 4096) for r in merged},
        )


@dataclass(frozen=True, slots=True)
class Record:
    arena_used: int
    inputs: tuple[tuple[int, int], ...]
    outputs: tuple[tuple[int, int], ...]


def set_up(machine: Machine | RenodeMachine, model: Model) -> Record:
    """Run the firmware up to its first inference and read where the tensors are.

    Raises FaultError with the runtime's words.
    """
    image = machine.image
    messages: list[str] = []
    machine.on_call(image.symbol("tinysim_log").address, lambda m: messages.append(m.text(m.register("r0"))))
    ready, failed = image.symbol("tinysim_ready").address, image.symbol("tinysim_failed").address
    if machine.run_to(ready, failed).address == failed:
        said = " ".join("".join(messages).split()) or "no reason given"
        raise FaultError(
            f"the runtime refused {model.name}: {said}", hint="`tinysim model` shows what the runtime supports"
        )
    words = np.frombuffer(machine.read(image.symbol("tinysim_io").address, 4 * _RECORD_WORDS), "<u4")
    if words[0] != _MAGIC:
        raise FaultError(
            f"the firmware of {model.name} did not fill in its record", hint="rebuild: remove the cache and try again"
        )
    tensors = [(int(words[5 + 3 * k]), int(words[6 + 3 * k])) for k in range(int(words[3] + words[4]))]
    return Record(int(words[2]), tuple(tensors[: int(words[3])]), tuple(tensors[int(words[3]) :]))
