"""Bench: models on parts, from the .tflite file to Results."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tinysim.core import Core, Pipeline, load_core
from tinysim.energy import energy
from tinysim.engine.run import MeasuredRegion, Run
from tinysim.engine.unicorn_machine import DEFAULT_BUDGET, Machine
from tinysim.errors import FaultError, InputError, TinysimError
from tinysim.estimate import Estimate, stated_error
from tinysim.firmware import Firmware
from tinysim.footprint import footprint
from tinysim.image import Image, load_image
from tinysim.layers import interpreter_loop
from tinysim.memory.pricers import MemoryOptions, MemoryPricers
from tinysim.model import Model, check_supported, load_model
from tinysim.parallel import each
from tinysim.part import Part, load_part
from tinysim.reference import Verdict, compare, load_inputs, reference_outputs, seeded_inputs
from tinysim.result import EnergyInfo, FirmwareInfo, MemoryUse, Outputs, Result
from tinysim.sizing import BuildOptions, Progress, build_fitting, set_up, silent
from tinysim.timing.stream import StreamCosts
from tinysim.units import parse_hz

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tinysim.renode.machine import RenodeMachine

T = TypeVar("T")

__all__ = ["BuildOptions", "Inference", "Inputs", "Job", "Measured", "MemoryOptions", "Progress", "bench"]


def bench(
    models: str | Path | Iterable[str | Path],
    part: str | Path | Part | Iterable[str | Path | Part],
    *,
    clock: str | int | Sequence[str | int] | None = None,
    options: BuildOptions | None = None,
    memory: MemoryOptions | None = None,
    core: str | Path | None = None,
    repeat: int = 1,
    inputs: Sequence[str | Path] = (),
    seed: int = 0,
    max_instructions: int = DEFAULT_BUDGET,
    engine: str = "unicorn",
    renode: str | Path | None = None,
    on_failure: Callable[[TinysimError], None] | None = None,
    progress: Progress = silent,
) -> list[Result]:
    """Build, run and price one inference of each model on each part at each clock.

    ``clock``: hertz, or text such as ``"120MHz"``; several for several results; default: each part's maximum.
    ``memory``: what to take instead of the part's own memory system as a vendor's start-up code sets it. ``core``: a
    core file of your own, such as `tinysim calibrate` writes, instead of the part's core. ``repeat``: inferences to
    run; the last one counts, the first is reported beside it. ``inputs``: files with the model's inputs (.npy, .npz or
    raw); default: seeded random ones. Returns one Result for each (model, part, clock), in that order.

    ``engine``: ``unicorn``, or ``renode`` where it is installed (``renode``: where it is); Renode shows no data
    accesses, so memory is ideal then.

    ``on_failure``: is told why a model on a part could not be measured, and the others go on; default: that is raised.

    Raises InputError, among them ModelError, PartError, CapacityError (your input), ToolchainError, FaultError,
    UnpricedError (could not measure).
    """
    if engine not in ("unicorn", "renode"):
        raise InputError(f"no engine {engine!r}", hint="use unicorn or renode")
    options, memory = options or BuildOptions(), memory or MemoryOptions()
    if engine == "renode":
        memory = dataclasses.replace(memory, ideal=True)
    paths = [models] if isinstance(models, str | Path) else list(models)
    parts = [
        p if isinstance(p, Part) else load_part(p) for p in ([part] if isinstance(part, str | Path | Part) else part)
    ]
    if not paths or not parts:
        raise InputError(
            f"no {'part' if paths else 'model'} was given", hint="name at least one; `tinysim parts` lists the parts"
        )
    if repeat < 1:
        raise InputError(f"{repeat} inferences cannot be measured", hint="use --repeat 1 or more")
    clocks = [clock] if isinstance(clock, str | int) else list(clock or [])
    wanted = {
        p.name: [p.check_clock(parse_hz(c) if isinstance(c, str) else c) for c in clocks] or [p.default_clock_hz]
        for p in parts
    }

    def attempted(work: Callable[[], T]) -> T | None:
        """What ``work`` gives; None where it fails and somebody wants to hear of it."""
        try:
            return work()
        except TinysimError as error:
            if on_failure is None:
                raise
            on_failure(error)
            return None

    jobs: list[tuple[Job, Firmware]] = []
    for path in paths:
        model = attempted(lambda path=path: _supported(path))  # type: ignore[misc]
        if model is None:
            continue
        given = (
            Inputs(load_inputs(model, inputs), "given")
            if inputs
            else Inputs(seeded_inputs(model, seed), f"seed {seed}")
        )
        for target in parts:
            job = Job(
                model, memory.placed(target), options, memory, given, core, repeat, max_instructions, engine, renode
            )
            firmware = attempted(lambda job=job: job.build(progress))  # type: ignore[misc]
            if firmware is not None:
                jobs.append((job, firmware))

    def results_of(item: tuple[Job, Firmware]) -> list[Result]:
        job, firmware = item
        return attempted(lambda: job.results(firmware, wanted[job.part.name], progress)) or []

    measured = each(results_of, jobs)
    return [result for results in measured for result in results]


def _supported(path: str | Path) -> Model:
    """A model that the runtime executes. Raises ModelError, InputError."""
    model = load_model(path)
    check_supported(model)
    return model


@dataclass(frozen=True, slots=True)
class Inputs:
    """The model's inputs and where they come from."""

    tensors: tuple[NDArray[np.generic], ...]
    described: str


@dataclass(frozen=True, slots=True)
class Inference:
    """One inference as it ran. ``streams``: what it cost at each clock on real memory."""

    run: Run
    streams: tuple[StreamCosts, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """All inferences of a job."""

    inferences: tuple[Inference, ...]
    outputs: tuple[NDArray[np.generic], ...]
    stack_peak_bytes: int
    arena_used_bytes: int


@dataclass(frozen=True, slots=True)
class Job:
    """One model on one part."""

    model: Model
    part: Part
    options: BuildOptions
    memory: MemoryOptions
    inputs: Inputs
    core_file: str | Path | None
    repeat: int
    max_instructions: int
    engine: str = "unicorn"
    renode: str | Path | None = None

    def build(self, progress: Progress) -> Firmware:
        """The firmware, with an arena of the size it needs."""
        return build_fitting(self.model, self.part, self.options, progress)

    def results(self, firmware: Firmware, clocks_hz: Sequence[int], progress: Progress) -> list[Result]:
        """One Result for each clock, from one run of the emulator."""
        model, part = self.model, self.part
        core = load_core(self.core_file or part.core).with_fpu(part.fpu)
        image = load_image(firmware.path)
        progress(f"running {model.name} on {part.title}", 0, 0)
        pricers = MemoryPricers(part, core, clocks_hz, self.memory)
        measured = self.measure(image, core, pricers)
        progress(f"checking the outputs of {model.name}", 0, 0)
        verdict = compare(model, reference_outputs(model, self.inputs.tensors), measured.outputs)
        progress(f"pricing {model.name} on {part.title}", 0, 0)
        use = footprint(
            image,
            part,
            stack_peak_bytes=measured.stack_peak_bytes,
            arena_used_bytes=measured.arena_used_bytes,
            weights_bytes=model.weights_bytes,
        )
        return [
            self._result(core, firmware, image, measured, pricers, verdict, use, clock_hz) for clock_hz in clocks_hz
        ]

    def _estimate(
        self, image: Image, core: Core, inference: Inference, pricers: MemoryPricers, clock_hz: int
    ) -> Estimate:
        if self.engine == "renode":  # it shows no data accesses: keys are priced, not a stream
            return Estimate.of(inference.run, image, core)
        return Estimate.of_stream(inference.run, image, inference.streams[pricers.number(clock_hz)], core)

    def _result(
        self,
        core: Core,
        firmware: Firmware,
        image: Image,
        measured: Measured,
        pricers: MemoryPricers,
        verdict: Verdict,
        use: MemoryUse,
        clock_hz: int,
    ) -> Result:
        first, last = measured.inferences[0], measured.inferences[-1]
        estimate = self._estimate(image, core, last, pricers, clock_hz)
        region = dataclasses.replace(
            estimate.region(0, clock_hz, name="invoke"), stack_peak_bytes=measured.stack_peak_bytes
        )
        others = [region.cycles] + [
            Estimate.of_stream(last.run, image, last.streams[number], core).region(0, clock_hz).cycles
            for number in (pricers.band(clock_hz) if self.engine != "renode" else ())
        ]
        regions = [region]
        if first is not last:
            cold = self._estimate(image, core, first, pricers, clock_hz).region(0, clock_hz, name="first invoke")
            regions.append(dataclasses.replace(cold, stack_peak_bytes=measured.stack_peak_bytes))
        greatest = verdict.max_abs_error if np.isfinite(verdict.max_abs_error) else None
        outputs = Outputs(verdict.match, verdict.reference, greatest, verdict.tolerance, self.inputs.described)
        return Result(
            model=self.model.name,
            part=self.part.name,
            core=self.part.core,
            clock_hz=clock_hz,
            engine=self.engine,
            firmware=_info(firmware),
            regions=tuple(regions),
            layers=estimate.layers(0, self.model),
            instructions=region.instructions,
            cycles=region.cycles,
            latency_s=region.latency_s,
            cycles_low=min(region.cycles_low or region.cycles, *others),
            cycles_high=max(region.cycles_high or region.cycles, *others),
            wait_states=pricers.wait_states(clock_hz),
            memory=use,
            outputs=outputs,
            energy=_energy(self.part, region.cycles, clock_hz),
            error=stated_error(estimate, pricers, core, 0, image.read),
            warnings=pricers.warnings(clock_hz, own_firmware=True),
        )

    def measure(self, image: Image, core: Core, pricers: MemoryPricers) -> Measured:
        """Run the inferences of an image built for this job; ``pricers`` say what they cost."""
        if self.engine == "renode":
            from tinysim.renode.find import find_renode
            from tinysim.renode.machine import RenodeMachine
            from tinysim.renode.session import RenodeSession

            with RenodeSession(find_renode(self.renode)) as session:
                return self._infer(
                    RenodeMachine(image, self.part, session=session, **self._what_to_count(image, core)), pricers
                )
        machine = Machine(
            image,
            self.part,
            layer_count=len(self.model.operators),
            record=pricers.feed,
            **self._what_to_count(image, core),
        )
        return self._infer(machine, pricers)

    def _what_to_count(self, image: Image, core: Core) -> dict[str, Any]:
        """What both engines' machines are told alike."""
        loop = interpreter_loop(image)
        return {
            "depth": core.context_blocks,
            "predict": core.pipeline is Pipeline.DUAL_ISSUE,
            "regions": [MeasuredRegion("invoke", image.symbol("tinysim_invoke").address)],
            "layers_in": loop.entry,
            "layer_sites": loop.sites,
            "budget": self.max_instructions,
        }

    def _infer(self, machine: Machine | RenodeMachine, pricers: MemoryPricers) -> Measured:
        """Set up, and run the inferences."""
        model, image = self.model, machine.image
        record = set_up(machine, model)
        machine.paint_stack(image.symbol("__stack_limit").address)
        top = image.symbol("__stack_top").address
        ready, done, failed = (image.symbol(f"tinysim_{name}").address for name in ("ready", "done", "failed"))
        machine.forget()
        if isinstance(machine, Machine):
            pricers.start(machine)
        inferences: list[Inference] = []
        lowest = top
        for number in range(self.repeat):
            if number:
                machine.skip_call()
                machine.run_to(ready)
            for (address, size), tensor in zip(record.inputs, self.inputs.tensors, strict=True):
                data = np.ascontiguousarray(tensor).tobytes()
                if len(data) != size:
                    raise FaultError(
                        f"the runtime has an input of {size} bytes for {len(data)} bytes given",
                        hint="report this model",
                    )
                machine.write(address, data)
            machine.skip_call()
            if machine.run_to(done, failed).address == failed:
                raise FaultError(
                    f"an operator of {model.name} failed while running",
                    hint="`tinysim model` shows what the runtime supports",
                )
            run = machine.take()
            inferences.append(Inference(run, pricers.take()))
            lowest = min(lowest, run.lowest_sp() or top)
        outputs = []
        for (address, size), output in zip(record.outputs, model.outputs, strict=True):
            outputs.append(np.frombuffer(machine.read(address, size), output.dtype).reshape(output.shape))
        lowest = min(machine.lowest_touched(), lowest)
        return Measured(tuple(inferences), tuple(outputs), top - lowest, record.arena_used)


def _energy(part: Part, cycles: int, clock_hz: int) -> EnergyInfo | None:
    """The energy of an inference in the first run mode with a current in the part's data; None without such data."""
    for found in energy(part, cycles, clock_hz):
        return EnergyInfo(
            found.microjoules,
            found.low_microjoules,
            found.high_microjoules,
            f"{found.mode}: {found.source} ({found.confidence})",
        )
    return None


def _info(firmware: Firmware) -> FirmwareInfo:
    return FirmwareInfo(
        path=str(firmware.path),
        sha256=firmware.sha256,
        runtime=firmware.runtime,
        kernels=str(firmware.kernels),
        opt=str(firmware.opt),
        float_abi=firmware.float_abi,
        compiler=firmware.compiler,
        flags=firmware.flags,
        sources=dict(firmware.sources),
    )
