"""Bench: a model on a part, from the .tflite file to a Result. Also the way from Python: `bench` and `run`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinysim.core import Core, Pipeline, load_core
from tinysim.engine.run import MeasuredRegion, Run
from tinysim.engine.unicorn_machine import DEFAULT_BUDGET, Machine
from tinysim.errors import FaultError, InputError, ModelError
from tinysim.estimate import Estimate
from tinysim.firmware import Firmware, FloatAbi, Kernels, OperatorUse, Opt, build
from tinysim.footprint import check_capacity, footprint
from tinysim.image import Image, load_image
from tinysim.layers import interpreter_loop
from tinysim.model import Model, check_supported, load_model
from tinysim.part import Part, Region, load_part
from tinysim.reference import Verdict, compare, load_inputs, reference_outputs, seeded_inputs
from tinysim.result import ErrorBound, FirmwareInfo, Outputs, Result
from tinysim.units import parse_hz

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BuildOptions", "Progress", "bench", "build_fitting", "core_warnings", "set_up"]

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many steps are done, and how many there are (0: unknown)."""

IDEAL_MEMORY = "memory is ideal in this estimate: zero wait states, no cache misses"
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


@dataclass(frozen=True, slots=True)
class _Measured:
    """One inference as it ran."""

    run: Run
    outputs: tuple[NDArray[np.generic], ...]
    stack_peak_bytes: int
    arena_used_bytes: int


def _silent(_what: str, _done: int, _total: int) -> None:
    """No progress is shown."""


def core_warnings(*, ideal_memory: bool) -> tuple[str, ...]:
    """What to say beside an estimate about what it leaves out."""
    return (IDEAL_MEMORY,) if ideal_memory else ()


def bench(
    models: str | Path | Iterable[str | Path],
    part: str | Part | Iterable[str | Part],
    *,
    clock: str | int | Sequence[str | int] | None = None,
    options: BuildOptions | None = None,
    inputs: Sequence[str | Path] = (),
    seed: int = 0,
    max_instructions: int = DEFAULT_BUDGET,
    progress: Progress = _silent,
) -> list[Result]:
    """Build, run and price one inference of each model on each part at each clock.

    ``clock``: hertz, or text such as ``"120MHz"``; several for several results; default: each part's maximum. ``inputs``: files with
    the model's inputs (.npy, .npz or raw); default: seeded random ones. Returns one Result for each (model, part, clock), in that order.

    Raises InputError, among them ModelError, PartError, CapacityError (your input), ToolchainError, FaultError, UnpricedError (could not measure).
    """
    options = options or BuildOptions()
    paths = [models] if isinstance(models, str | Path) else list(models)
    parts = [p if isinstance(p, Part) else load_part(p) for p in ([part] if isinstance(part, str | Part) else list(part))]
    if not paths or not parts:
        raise InputError(f"no {'part' if paths else 'model'} was given", hint="name at least one; `tinysim parts` lists the parts")
    clocks = [clock] if isinstance(clock, str | int) else list(clock or [])
    wanted = {p.name: [p.check_clock(parse_hz(c) if isinstance(c, str) else c) for c in clocks] or [p.default_clock_hz] for p in parts}
    loaded = [load_model(path) for path in paths]
    for model in loaded:
        check_supported(model)
    results: list[Result] = []
    for model in loaded:
        given = load_inputs(model, inputs) if inputs else seeded_inputs(model, seed)
        described = "given" if inputs else f"seed {seed}"
        for target in parts:
            results += _bench_one(model, target, wanted[target.name], options, given, described, max_instructions, progress)
    return results


def _bench_one(
    model: Model, part: Part, clocks_hz: Sequence[int], options: BuildOptions, inputs: tuple[NDArray[np.generic], ...], described: str,
    max_instructions: int, progress: Progress,
) -> list[Result]:
    core = load_core(part.core).with_fpu(part.fpu)
    firmware = build_fitting(model, part, options, progress)
    image = load_image(firmware.path)
    progress(f"running {model.name} on {part.title}", 0, 0)
    measured = _measure(model, image, part, core, inputs, max_instructions)
    progress(f"checking the outputs of {model.name}", 0, 0)
    verdict = compare(model, reference_outputs(model, inputs), measured.outputs)
    progress(f"pricing {model.name} on {part.title}", 0, 0)
    estimate = Estimate.of(measured.run, image, core)
    memory = footprint(
        image, part, stack_peak_bytes=measured.stack_peak_bytes, arena_used_bytes=measured.arena_used_bytes, weights_bytes=model.weights_bytes
    )
    results = []
    for clock_hz in clocks_hz:
        region = dataclasses.replace(
            estimate.region(0, clock_hz, name="invoke"), stack_peak_bytes=measured.stack_peak_bytes
        )
        results.append(
            Result(
                model=model.name,
                part=part.name,
                core=part.core,
                clock_hz=clock_hz,
                engine="unicorn",
                firmware=_info(firmware),
                regions=(region,),
                layers=estimate.layers(0, model),
                instructions=region.instructions,
                cycles=region.cycles,
                latency_s=region.latency_s,
                cycles_low=region.cycles_low,
                cycles_high=region.cycles_high,
                memory=memory,
                outputs=_outputs(verdict, described),
                error=ErrorBound(core.error_bound_percent, core.error_basis),
                warnings=core_warnings(ideal_memory=True),
            )
        )
    return results


def _info(firmware: Firmware) -> FirmwareInfo:
    return FirmwareInfo(
        path=str(firmware.path), sha256=firmware.sha256, runtime=firmware.runtime, kernels=str(firmware.kernels), opt=str(firmware.opt),
        float_abi=firmware.float_abi, compiler=firmware.compiler, flags=firmware.flags, sources=dict(firmware.sources),
    )


def _outputs(verdict: Verdict, described: str) -> Outputs:
    return Outputs(verdict.match, verdict.reference, verdict.max_abs_error, verdict.tolerance, described)


def operators_used(model: Model) -> tuple[OperatorUse, ...]:
    """The operators the resolver needs, each once, at the highest version used."""
    versions: dict[str, int] = {}
    for operator in model.operators:
        versions[operator.name] = max(operator.version, versions.get(operator.name, 0))
    return tuple(OperatorUse(name, version) for name, version in versions.items())


def build_fitting(model: Model, part: Part, options: BuildOptions, progress: Progress = _silent) -> Firmware:
    """Firmware with a tensor arena of just the size the runtime needs, found by running it.

    A first link with far too much memory runs the set-up and says what it needs. Raises CapacityError when the part has less.
    """
    def built(arena_bytes: int | None, oversized: bool) -> Firmware:
        return build(
            model.path, part, operators=operators_used(model), kernels=options.kernels, opt=options.opt, float_abi=options.float_abi,
            cc=options.cc, arena_bytes=arena_bytes, oversized=oversized, progress=progress,
        )

    trial = built(None, True)
    progress(f"sizing the tensor arena of {model.name}", 0, 0)
    image = load_image(trial.path)
    roomy = _Roomy.of(image, part)
    machine = Machine(image, part, depth=1, predict=False, memory=roomy.memory)
    arena_bytes = -(-set_up(machine, model).arena_used // _ARENA_STEP_BYTES) * _ARENA_STEP_BYTES
    sizes = footprint(image, roomy.part, stack_peak_bytes=0)
    data_bytes = sizes.ram_bytes - (sizes.arena_bytes or 0)
    check_capacity(part, {"code": sizes.flash_bytes, "data": data_bytes + trial.stack_bytes, "arena": arena_bytes}, model.name)
    for slack in (0, 256, 1024, 4096, 16384):  # planning needs some bytes more than what stays in use
        firmware = built(arena_bytes + slack, False)
        machine = Machine(load_image(firmware.path), part, depth=1, predict=False)
        try:
            set_up(machine, model)
        except FaultError:
            continue
        return firmware
    raise ModelError(f"the runtime cannot plan {model.name} in {arena_bytes + slack} bytes of arena", hint="report this model")


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
        return cls(dataclasses.replace(part, regions=tuple(merged)), {r.name: (r.base, -(-r.size // 4096) * 4096) for r in merged})


@dataclass(frozen=True, slots=True)
class _Record:
    arena_used: int
    inputs: tuple[tuple[int, int], ...]
    outputs: tuple[tuple[int, int], ...]


def set_up(machine: Machine, model: Model) -> _Record:
    """Run the firmware up to its first inference and read where the tensors are. Raises FaultError with the runtime's words."""
    image = machine.image
    messages: list[str] = []
    machine.on_call(image.symbol("tinysim_log").address, lambda m: messages.append(m.text(m.register("r0"))))
    ready, failed = image.symbol("tinysim_ready").address, image.symbol("tinysim_failed").address
    if machine.run_to(ready, failed).address == failed:
        said = " ".join("".join(messages).split()) or "no reason given"
        raise FaultError(f"the runtime refused {model.name}: {said}", hint="`tinysim model` shows what the runtime supports")
    words = np.frombuffer(machine.read(image.symbol("tinysim_io").address, 4 * _RECORD_WORDS), "<u4")
    if words[0] != _MAGIC:
        raise FaultError(f"the firmware of {model.name} did not fill in its record", hint="rebuild: remove the cache and try again")
    tensors = [(int(words[5 + 3 * k]), int(words[6 + 3 * k])) for k in range(int(words[3] + words[4]))]
    return _Record(int(words[2]), tuple(tensors[: int(words[3])]), tuple(tensors[int(words[3]) :]))


def _measure(
    model: Model, image: Image, part: Part, core: Core, inputs: tuple[NDArray[np.generic], ...], max_instructions: int
) -> _Measured:
    loop = interpreter_loop(image)
    machine = Machine(
        image, part, depth=core.context_blocks, predict=core.pipeline is Pipeline.DUAL_ISSUE,
        regions=[MeasuredRegion("invoke", image.symbol("tinysim_invoke").address)],
        layers_in=loop.entry, layer_sites=loop.sites, layer_count=len(model.operators), budget=max_instructions,
    )
    record = set_up(machine, model)
    for (address, size), tensor in zip(record.inputs, inputs, strict=True):
        data = np.ascontiguousarray(tensor).tobytes()
        if len(data) != size:
            raise FaultError(f"the runtime has an input of {size} bytes for {len(data)} bytes given", hint="report this model")
        machine.write(address, data)
    machine.paint_stack(image.symbol("__stack_limit").address)
    top = image.symbol("__stack_top").address
    machine.skip_call()
    machine.forget()
    done, failed = image.symbol("tinysim_done").address, image.symbol("tinysim_failed").address
    if machine.run_to(done, failed).address == failed:
        raise FaultError(f"an operator of {model.name} failed while running", hint="`tinysim model` shows what the runtime supports")
    run = machine.take()
    outputs = []
    for (address, size), output in zip(record.outputs, model.outputs, strict=True):
        outputs.append(np.frombuffer(machine.read(address, size), output.dtype).reshape(output.shape))
    lowest = min(machine.lowest_touched(), run.lowest_sp() or top)
    return _Measured(run, tuple(outputs), top - lowest, record.arena_used)
