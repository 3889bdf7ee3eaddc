"""Robot Framework library: suites that say how fast a model or a program must be, and read like sentences.

Import it with ``Library    tinysim.robot``. See :class:`robot`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from robot.api import Failure, logger
from robot.api.deco import keyword, library

from tinysim.errors import InputError, TinysimError
from tinysim.result import FunctionCost, LayerCost, RegionCost, Result, read_results
from tinysim.robot_log import html_report, text_table
from tinysim.units import format_bytes, format_seconds, parse_bytes, parse_percent, parse_seconds

__all__ = ["EngineName", "robot"]


class EngineName(StrEnum):
    """What runs the program."""

    UNICORN = "unicorn"
    RENODE = "renode"


@library(scope="TEST", version="0.1.0", doc_format="ROBOT")
class robot:  # noqa: N801 - Robot Framework looks for a class of its module's name
    """Measures TinyML models and firmware on simulated Cortex-M4 and M7 microcontrollers, and checks what it measured.

    A test says what to run, runs it on a part, and says what must hold:

    | `Given model`    | examples/models/cnn_int8.tflite |
    | `When model runs on part`    | stm32l4r5zi    clock=120MHz |
    | `Then latency should be below`    | 20 ms |
    | `And flash should fit` |
    | `And outputs should match reference` |

    Robot Framework ignores Given, When, Then, And and But before a keyword. `Run model on part` and `Run firmware on
    part` do
    the first two steps in one.

    Times, clocks, sizes and percentages are written with their units: ``20 ms``, ``120MHz``, ``512K``, ``1 %``. K and
    M are 1024
    and 1024 squared. A keyword that fails shows the table of what was measured; each measurement is put into Robot's
    log as a
    table and a picture of where the cycles go.

    = Engines =
    The embedded engine runs everything by default. With ``Library    tinysim.robot    engine=renode``, or
    ``engine=${ENGINE}`` and ``robot --variable ENGINE:renode``, programs run in Renode instead, where it is installed.

    = Parallel runs =
    The library keeps its state for one test, so suites can be run with pabot.
    """

    def __init__(self, engine: EngineName = EngineName.UNICORN, renode: str | None = None) -> None:
        """``engine``: ``unicorn`` (embedded) or ``renode``. ``renode``: where Renode is, if it is not found by
        itself."""
        self.engine = EngineName(engine)
        self.renode = renode
        self._model: str | None = None
        self._firmware: str | None = None
        self._functions: tuple[str, ...] = ()
        self._between: tuple[str, ...] = ()
        self._results: list[Result] = []
        self._part = ""

    # ---- what to run ----

    @keyword("Model")
    def model(self, path: str) -> None:
        """The .tflite file that later steps run.

        Example:
        | Given model    examples/models/cnn_int8.tflite |
        """
        self._model, self._firmware = str(_existing(path)), None

    @keyword("Firmware")
    def firmware(self, path: str) -> None:
        """The linked ELF file that later steps run.

        Example:
        | Given firmware    build/app.elf |
        """
        self._firmware, self._model = str(_existing(path)), None
        self._functions = self._between = ()

    @keyword("Measured function")
    def measured_function(self, *names: str) -> None:
        """Functions of the firmware to measure, from each entry to its return; the first one is the main one.

        Example:
        | And measured function    classify    fft |
        """
        self._functions += names

    @keyword("Measured stretch")
    def measured_stretch(self, start: str, stop: str) -> None:
        """A stretch of the firmware to measure, from one symbol to another.

        Example:
        | And measured stretch    start_trigger    stop_trigger |
        """
        self._between += (f"{start}..{stop}",)

    # ---- running ----

    @keyword("Model runs on part")
    def model_runs_on_part(
        self, part: str, clock: str | None = None, kernels: str = "cmsis-nn", opt: str = "O2", seed: int = 0
    ) -> Result:
        """Build the firmware of the given model, run one inference on a part and price it. Returns the result.

        ``clock``: such as ``80MHz``; default: the part's maximum. ``kernels``: ``cmsis-nn`` or ``reference``.
        ``opt``: ``O0`` to
        ``O3``, ``Os``. ``seed``: of the random inputs, whose outputs are compared with those of the host's runtime.

        Example:
        | When model runs on part    stm32f446re    clock=180MHz    opt=O3 |
        """
        return self._run_model(part, clock, kernels, opt, seed)

    @keyword("Firmware runs on part")
    def firmware_runs_on_part(self, part: str, clock: str | None = None, until: str | None = None) -> Result:
        """Run the given firmware on a part and price the measured functions and stretches, or all of it. Returns the
        result.

        ``until``: the symbol where the program counts as finished; default: where it ends by itself.

        Example:
        | When firmware runs on part    stm32l4r5zi    clock=80MHz    until=finished |
        """
        return self._run_firmware(part, clock, until)

    @keyword("Run model on part")
    def run_model_on_part(
        self, model: str, part: str, clock: str | None = None, kernels: str = "cmsis-nn", opt: str = "O2", seed: int = 0
    ) -> Result:
        """`Model` and `Model runs on part` in one step.

        Example:
        | Run model on part    kws.tflite    stm32l4r5zi    clock=120MHz |
        """
        self.model(model)
        return self._run_model(part, clock, kernels, opt, seed)

    @keyword("Run firmware on part")
    def run_firmware_on_part(
        self, firmware: str, part: str, *functions: str, clock: str | None = None, until: str | None = None
    ) -> Result:
        """`Firmware`, `Measured function` and `Firmware runs on part` in one step.

        Example:
        | Run firmware on part    app.elf    stm32l4r5zi    classify    clock=80MHz |
        """
        self.firmware(firmware)
        self.measured_function(*functions)
        return self._run_firmware(part, clock, until)

    def _run_model(self, part: str, clock: str | None, kernels: str, opt: str, seed: int) -> Result:
        if self._model is None:
            raise _wrong("no model was given", "say first: Given model    FILE.tflite")
        model = self._model
        from tinysim.bench import BuildOptions, bench
        from tinysim.firmware import Kernels, Opt

        options = BuildOptions(kernels=_choice(Kernels, kernels, "kernels"), opt=_choice(Opt, opt, "opt"))
        self._part = part
        return self._keep(
            lambda: bench(model, part, clock=clock, options=options, seed=seed, **self._engine_arguments())[0]
        )

    def _run_firmware(self, part: str, clock: str | None, until: str | None) -> Result:
        if self._firmware is None:
            raise _wrong("no firmware was given", "say first: Given firmware    FILE.elf")
        firmware = self._firmware
        from tinysim.measure import run

        self._part = part
        return self._keep(
            lambda: run(
                firmware,
                part,
                functions=self._functions,
                between=self._between,
                until=until,
                clock=clock,
                **self._engine_arguments(),
            )
        )

    def _engine_arguments(self) -> dict[str, Any]:
        if self.engine is EngineName.UNICORN:
            return {}
        return {"engine": self.engine.value, **({"renode": self.renode} if self.renode else {})}

    def _keep(self, measure: Any) -> Result:
        try:
            result: Result = measure()
        except TinysimError as error:
            raise _wrong(error.message, error.hint, error.details) from error
        self._results.append(result)
        logger.info(html_report(result), html=True)
        return result

    # ---- what must hold ----

    @keyword("Latency should be below")
    def latency_should_be_below(self, limit: str) -> None:
        """Fail when one call of the main region takes as long as ``limit`` or longer.

        Example:
        | Then latency should be below    20 ms |
        """
        result, wanted = self._last(), _units(parse_seconds, limit)
        self._demand(
            result.latency_s < wanted,
            f"the latency is {format_seconds(result.latency_s)}, not below {format_seconds(wanted)}",
        )

    @keyword("Latency should be about")
    def latency_should_be_about(self, value: str, within: str = "10 %") -> None:
        """Fail when the latency differs from ``value`` by more than ``within``.

        Example:
        | Then latency should be about    35.8 ms    within=5 % |
        """
        result, wanted, percent = self._last(), _units(parse_seconds, value), _units(parse_percent, within)
        difference = 100 * (result.latency_s / wanted - 1)
        self._demand(
            abs(difference) <= percent,
            f"the latency is {format_seconds(result.latency_s)}, {difference:+.1f} % from {format_seconds(wanted)}, "
            f"not within {percent:g} %",
        )

    @keyword("Latency should not regress by more than")
    def latency_should_not_regress_by_more_than(self, percent: str, baseline: str) -> None:
        """Fail when the latency is more than ``percent`` above the one in a baseline file.

        ``baseline``: a file written by `Save baseline` or ``tinysim bench --json``; the record of the same model (or
        firmware),
        part and clock is taken.

        Example:
        | Then latency should not regress by more than    1 %    baseline=baselines/kws.json |
        """
        result, allowed = self._last(), _units(parse_percent, percent)
        before = _baseline(result, baseline)
        change = 100 * (result.latency_s / before.latency_s - 1)
        self._demand(
            change <= allowed,
            f"the latency is {format_seconds(result.latency_s)}, {change:+.2f} % from "
            f"{format_seconds(before.latency_s)} in {baseline}, more than {allowed:g} %",
            before,
        )

    @keyword("Cycles should be below")
    def cycles_should_be_below(self, limit: int) -> None:
        """Fail when one call of the main region takes as many cycles as ``limit`` or more.

        Example:
        | Then cycles should be below    1000000 |
        """
        result = self._last()
        self._demand(result.cycles < limit, f"it takes {result.cycles:,} cycles, not below {limit:,}")

    @keyword("Flash should fit")
    def flash_should_fit(self, limit: str | None = None) -> None:
        """Fail when code and constants need more flash than the part has, or than ``limit``.

        Example:
        | And flash should fit |
        | And flash should fit    256K |
        """
        result = self._last()
        size = _units(parse_bytes, limit) if limit is not None else _size_of(self._part, writable=False)
        used = result.memory.flash_bytes
        self._demand(used <= size, f"it needs {format_bytes(used)} of flash, more than {format_bytes(size)}")

    @keyword("RAM should fit")
    def ram_should_fit(self, limit: str | None = None) -> None:
        """Fail when data, tensor arena and stack need more RAM than the part has, or than ``limit``.

        Example:
        | And RAM should fit    64K |
        """
        result = self._last()
        size = _units(parse_bytes, limit) if limit is not None else _size_of(self._part, writable=True)
        used = result.memory.ram_bytes
        self._demand(used <= size, f"it needs {format_bytes(used)} of RAM, more than {format_bytes(size)}")

    @keyword("Stack peak should be below")
    def stack_peak_should_be_below(self, limit: str) -> None:
        """Fail when the stack grew to ``limit`` or further.

        Example:
        | And stack peak should be below    4K |
        """
        result, wanted = self._last(), _units(parse_bytes, limit)
        peak = result.memory.stack_peak_bytes
        if peak is None:
            raise self._failure("the peak of the stack is not known")
        self._demand(peak < wanted, f"the stack grew to {format_bytes(peak)}, not below {format_bytes(wanted)}")

    @keyword("Outputs should match reference")
    def outputs_should_match_reference(self) -> None:
        """Fail when the model's outputs differ from those of the host's runtime for the same inputs.

        Example:
        | And outputs should match reference |
        """
        result = self._last()
        if result.outputs is None:
            raise self._failure("no outputs were compared: this was firmware, not a model")
        error = result.outputs.max_abs_error
        by = "in what is a number" if error is None else f"by up to {error:g}, more than {result.outputs.tolerance:g}"
        self._demand(result.outputs.match, f"the outputs differ from {result.outputs.reference} {by}")

    @keyword("Function should take fewer cycles than")
    def function_should_take_fewer_cycles_than(self, name: str, limit: int) -> None:
        """Fail when one call of a measured function takes as many cycles as ``limit`` or more.

        A function that was not measured by itself counts with its own cycles in the main region, without those it
        calls.

        Example:
        | Then function should take fewer cycles than    fft    250000 |
        """
        cost = _function(self._last(), name)
        if cost is None:
            raise self._failure(f"{name} did not run, or has another name")
        cycles = round(cost.cycles / max(cost.calls, 1)) if isinstance(cost, RegionCost) else cost.cycles
        self._demand(cycles < limit, f"{name} takes {cycles:,} cycles, not fewer than {limit:,}")

    @keyword("Layer should take fewer cycles than")
    def layer_should_take_fewer_cycles_than(self, layer: str, limit: int) -> None:
        """Fail when a layer, named by its number, name or operator, takes as many cycles as ``limit`` or more.

        An operator that occurs several times counts with all of them together.

        Example:
        | Then layer should take fewer cycles than    CONV_2D    5000000 |
        """
        result = self._last()
        found = [
            cost for cost in result.layers if layer in (str(cost.index), cost.name) or layer.upper() == cost.op.upper()
        ]
        if not found:
            raise self._failure(f"there is no layer {layer!r}")
        cycles = _sum(found)
        self._demand(cycles < limit, f"{layer} takes {cycles:,} cycles, not fewer than {limit:,}")

    @keyword("It should be faster than")
    def it_should_be_faster_than(self, other: Result, by: str = "0 %") -> None:
        """Fail when the last measurement is not faster than another one of this test, or not by as much.

        Example:
        | ${slow}=    Run model on part    cnn.tflite    stm32l4r5zi    kernels=reference |
        | Run model on part    cnn.tflite    stm32l4r5zi    kernels=cmsis-nn |
        | It should be faster than    ${slow}    by=50 % |
        """
        result, percent = self._last(), _units(parse_percent, by)
        gained = 100 * (1 - result.latency_s / other.latency_s)
        self._demand(
            gained > 0 and gained >= percent,
            f"{format_seconds(result.latency_s)} is {gained:.1f} % faster than {format_seconds(other.latency_s)}, "
            f"not {percent:g} %",
            other,
        )

    # ---- results ----

    @keyword("Get latency")
    def get_latency(self) -> float:
        """The latency of one call of the main region, in seconds."""
        return self._last().latency_s

    @keyword("Get cycles")
    def get_cycles(self) -> int:
        """The cycles of one call of the main region."""
        return self._last().cycles

    @keyword("Get result")
    def get_result(self) -> Result:
        """The whole result of the last measurement, with the fields of the schema ``tinysim.result/1``."""
        return self._last()

    @keyword("Save baseline")
    def save_baseline(self, path: str) -> None:
        """Write the last measurement to a file that `Latency should not regress by more than` compares with."""
        Path(path).write_text(self._last().to_json() + "\n", encoding="utf-8")

    def _last(self) -> Result:
        if not self._results:
            raise _wrong("nothing was measured yet", "say first: Run model on part, or Run firmware on part")
        return self._results[-1]

    def _demand(self, holds: bool, message: str, *others: Result) -> None:
        if not holds:
            raise self._failure(message, *others)

    def _failure(self, message: str, *others: Result) -> Failure:
        return Failure(f"{message}\n\n{text_table([*others, self._last()])}")


def _wrong(message: str, hint: str, details: str = "") -> Failure:
    return Failure("\n".join(filter(None, (f"{message} ({hint})" if hint else message, details))))


def _existing(path: str) -> Path:
    if not Path(path).is_file():
        raise _wrong(
            f"there is no file {path}", "paths are relative to where robot was started; ${CURDIR} is the suite's folder"
        )
    return Path(path)


def _units(parse: Any, text: str) -> Any:
    try:
        return parse(str(text))
    except InputError as error:
        raise _wrong(error.message, error.hint) from error


def _choice(kind: Any, value: str, what: str) -> Any:
    try:
        return kind(value)
    except ValueError:
        raise _wrong(f"no {what} {value!r}", f"one of {', '.join(kind)}") from None


def _baseline(result: Result, path: str) -> Result:
    try:
        found = read_results(path)
    except InputError as error:
        raise _wrong(error.message, "write it first: Save baseline    FILE") from error
    for before in found:
        same = before.model == result.model and (
            result.model is not None or before.firmware.path == result.firmware.path
        )
        if same and (before.part, before.clock_hz) == (result.part, result.clock_hz):
            return before
    named = result.model or result.firmware.path
    raise _wrong(
        f"{path} has no result of {named} on {result.part} at {result.clock_hz} Hz",
        "write it first: Save baseline    FILE",
    )


def _size_of(part: str, *, writable: bool) -> int:
    from tinysim.part import load_part

    return sum(region.size for region in load_part(part).regions if region.kind.writable is writable)


def _function(result: Result, name: str) -> RegionCost | FunctionCost | None:
    for region in result.regions:
        if region.name == name:
            return region
    return next(
        (function for function in result.regions[0].functions if name in (function.name, function.name.split("(")[0])),
        None,
    )


def _sum(layers: Sequence[LayerCost]) -> int:
    return sum(layer.cycles for layer in layers)
