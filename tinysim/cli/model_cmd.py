"""tinysim model: operators, shapes, parameters, MACs, and what each runtime supports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tinysim.cli.common import console, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from tinysim.model import Gap, Model, Operator, Tensor
    from tinysim.runtime import Runtime

    Support = Sequence[tuple[Runtime, tuple[Gap, ...]]]

__all__ = ["model_record", "register"]

SCHEMA = "tinysim.model/1"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog="Example: tinysim model model.tflite --json -")
    def model(
        model: Annotated[Path, typer.Argument(help="A .tflite file.", metavar="MODEL")],
        json: Annotated[
            str | None, typer.Option(help="Write it as JSON to a file, or - for standard output.", metavar="FILE|-")
        ] = None,
    ) -> None:
        """Show what a model is made of: operators, shapes, parameters, MACs, and what each runtime supports.

        No compiler and no part is needed. A model that a runtime does not support is shown all the same.
        """
        from tinysim.model import load_model, unsupported
        from tinysim.runtime import load_runtime

        loaded = load_model(model)
        support = [(runtime, unsupported(loaded, runtime)) for runtime in (load_runtime(),)]
        if json:
            write_json(model_record(loaded, support), json)
        if json != "-":
            _show(loaded, support)


# -- JSON -------------------------------------------------------------------------------------------------------------


def model_record(model: Model, support: Support) -> dict[str, Any]:
    """The model, and the gaps of each runtime, as JSON values, schema ``tinysim.model/1``."""
    return {
        "schema": SCHEMA,
        "path": str(model.path),
        "name": model.name,
        "sha256": model.sha256,
        "bytes": model.bytes,
        "kind": model.kind.value,
        "parameters": model.parameters,
        "macs": model.macs,
        "weights_bytes": model.weights_bytes,
        "inputs": [_tensor_record(t) for t in model.inputs],
        "outputs": [_tensor_record(t) for t in model.outputs],
        "operators": [_operator_record(o) for o in model.operators],
        "runtimes": {
            runtime.name: {
                "version": runtime.version,
                "supported": not found,
                "gaps": [
                    {"operator": g.operator.index, "op": g.operator.name, "name": g.operator.label, "reason": g.reason}
                    for g in found
                ],
            }
            for runtime, found in support
        },
    }


def _operator_record(operator: Operator) -> dict[str, Any]:
    return {
        "index": operator.index,
        "op": operator.name,
        "version": operator.version,
        "name": operator.label,
        "inputs": [None if t is None else _tensor_record(t) for t in operator.inputs],
        "outputs": [_tensor_record(t) for t in operator.outputs],
        "options": {key: list(v) if isinstance(v, tuple) else v for key, v in operator.options.items()},
        "parameters": operator.parameters,
        "macs": operator.macs,
    }


def _tensor_record(tensor: Tensor) -> dict[str, Any]:
    quantization = tensor.quantization
    return {
        "index": tensor.index,
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "bytes": tensor.bytes,
        "constant": tensor.constant,
        "quantization": None if quantization is None else {
            "scales": list(quantization.scales), "zero_points": list(quantization.zero_points),
            "axis": quantization.axis,
        },
    }  # fmt: skip


# -- for people -------------------------------------------------------------------------------------------------------


def _show(model: Model, support: Support) -> None:
    from rich.text import Text

    from tinysim.units import format_bytes

    out = console()
    out.print(Text(f"{model.name}: {model.kind.value}, {format_bytes(model.bytes)}, "
                   f"{format_bytes(model.weights_bytes)} of it weights"))  # fmt: skip
    out.print(Text(f"input  {', '.join(_described(t) for t in model.inputs)}"))
    out.print(Text(f"output {', '.join(_described(t) for t in model.outputs)}"))
    out.print(_table(model, support))
    for runtime, found in support:
        title = f"{runtime.name} {runtime.version}"
        if not found:
            out.print(Text(f"{title} runs it"))
        for gap in found:
            out.print(Text(f"{title} does not run {gap.operator.index} {gap.operator.name} "
                           f"({gap.operator.label}): {gap.reason}"))  # fmt: skip


def _table(model: Model, support: Support) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("operator", no_wrap=True)
    table.add_column("layer", "total")
    table.add_column("input", no_wrap=True)
    table.add_column("output", no_wrap=True)
    table.add_column("parameters", f"{model.parameters:,}", justify="right")
    table.add_column("MACs", f"{model.macs:,}", justify="right")
    for runtime, _ in support:
        table.add_column(runtime.name, no_wrap=True)
    for operator in model.operators:
        data = next((t for t in operator.inputs if t is not None and not t.constant), None)
        table.add_row(
            str(operator.index),
            f"{operator.name} v{operator.version}",
            Text(operator.label),  # a name from the file: no markup
            "" if data is None else _described(data),
            _described(operator.outputs[0]) if operator.outputs else "",
            f"{operator.parameters:,}" if operator.parameters else "",
            f"{operator.macs:,}" if operator.macs else "",
            *(_kernels(operator, runtime, found) for runtime, found in support),
        )
    return table


def _kernels(operator: Operator, runtime: Runtime, gaps: Sequence[Gap]) -> str:
    """Which kernels the runtime has for this operator and type."""
    if any(gap.operator is operator for gap in gaps):
        return "no"
    entry = runtime.operators[operator.name]
    data = operator.inputs[entry.data] if entry.data < len(operator.inputs) else None
    return "cmsis-nn, reference" if data is not None and data.dtype in entry.cmsis_nn_types else "reference"


def _described(tensor: Tensor) -> str:
    return f"{'x'.join(map(str, tensor.shape)) or 'scalar'} {tensor.dtype}"
