"""tinysim parts: the catalogue, one part with its sources, the lint of a part file, a new part to start from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tinysim.cli.common import console, write_json
from tinysim.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from tinysim.catalogue import Wish
    from tinysim.part import Part
    from tinysim.partlint import Finding

__all__ = ["part_record", "register"]

SCHEMA = "tinysim.parts/1"
_HELP_FILTER = "Only parts with this much: a size such as 512K, or a bound such as '>=512K', '<1M'."


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(
        epilog="Examples: tinysim parts --core m7 --ram '>=512K'   tinysim parts stm32l4r5zi   "
        "tinysim parts check my.toml   tinysim parts new my.toml --like stm32f407vg"
    )
    def parts(
        words: Annotated[
            list[str] | None,
            typer.Argument(
                help="A part's name or file: show it. check FILE...: lint part files, core files, platform "
                "descriptions. new PATH --like PART: write a part to start from. "
                "import FILE.repl PATH: a part from a Renode description.",
                metavar="[NAME | check FILE... | new PATH | import FILE PATH]",
                show_default=False,
            ),
        ] = None,
        core: Annotated[str | None, typer.Option(help="Only parts with this core: m4 or m7.")] = None,
        ram: Annotated[str | None, typer.Option(help=_HELP_FILTER)] = None,
        flash: Annotated[str | None, typer.Option(help=_HELP_FILTER)] = None,
        clock: Annotated[
            str | None, typer.Option("--max-clock", help="Only parts whose maximum clock is: 200MHz, '>=200MHz'.")
        ] = None,
        price: Annotated[
            float | None, typer.Option("--max-price", help="Only parts known to cost at most this.")
        ] = None,
        like: Annotated[str | None, typer.Option(help="For new: the part to copy.")] = None,
        fpu: Annotated[str | None, typer.Option(help="For import: the FPU of a Cortex-M7, fpv5-sp or fpv5-dp.")] = None,
        kind: Annotated[
            list[str] | None,
            typer.Option(help="For import: what kind of memory one is; may be repeated.", metavar="NAME=KIND"),
        ] = None,
        json: Annotated[
            str | None, typer.Option(help="Write it as JSON to a file, or - for standard output.", metavar="FILE|-")
        ] = None,
    ) -> None:
        """The catalogue of microcontrollers, and parts of your own."""
        given = words or []
        match given:
            case []:
                _list(_wish(core, ram, flash, clock, price), json)
            case ["check", *files]:
                _check(files, json)
            case ["new", *paths]:
                _new(paths, like)
            case ["import", *paths]:
                _import(paths, clock, fpu, kind or [])
            case [name]:
                _show(name, json)
            case _:
                raise InputError(
                    f"`parts` takes one part, not {len(given)}", hint="or check FILE..., new PATH, import FILE PATH"
                )


def _wish(core: str | None, ram: str | None, flash: str | None, clock: str | None, price: float | None) -> Wish:
    from tinysim.catalogue import Bound, Wish, parse_bound
    from tinysim.units import parse_bytes, parse_hz

    return Wish(
        core=core,
        ram=parse_bound(ram, parse_bytes) if ram else None,
        flash=parse_bound(flash, parse_bytes) if flash else None,
        clock=parse_bound(clock, parse_hz) if clock else None,
        price=Bound("<=", price) if price is not None else None,
    )


# -- the catalogue ----------------------------------------------------------------------------------------------------


def _list(wish: Wish, json: str | None) -> None:
    from tinysim.catalogue import load_parts, select

    everything = load_parts()
    found = select(everything, wish)
    if wish.price is not None and not any(part.price for part in everything):
        raise InputError(
            "no part of the catalogue has a price", hint="add [price] to a part file of your own, or drop --max-price"
        )
    if json:
        write_json({"schema": SCHEMA, "parts": [part_record(part) for part in found]}, json)
    if json != "-":
        out = console()
        if found:
            out.print(_catalogue(found))
        out.print(f"{len(found)} of {len(everything)} parts" + ("" if found else "; drop a filter to see more"))


def _catalogue(parts: tuple[Part, ...]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from tinysim.catalogue import flash_bytes, ram_bytes
    from tinysim.units import format_hz

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, justify in (
        ("part", "left"), ("core", "left"), ("FPU", "left"), ("clock", "right"), ("flash", "right"), ("RAM", "right"),
        ("wait states", "right"), ("in front of memory", "left"), ("boards", "left"),
    ):  # fmt: skip
        table.add_column(name, justify=justify, no_wrap=name != "boards")  # type: ignore[arg-type]
    for part in parts:
        waits = "?" if part.wait_table is None else str(part.wait_states(part.max_clock_hz))
        flash = flash_bytes(part)
        table.add_row(
            part.name, part.core, part.fpu, format_hz(part.max_clock_hz), _size(flash) if flash else "external",
            _size(ram_bytes(part)), waits, _accelerator(part), Text(", ".join(part.boards)),
        )  # fmt: skip
    return table


def _size(size: int) -> str:
    return f"{size // 1024 // 1024} MiB" if size >= 1024**2 and size % 1024**2 == 0 else f"{size // 1024} KiB"


def _accelerator(part: Part) -> str:
    memory = part.memory
    if memory is None:
        return "not known"
    found = []
    if memory.instruction_cache or memory.data_cache:
        sizes = [cache.size_bytes for cache in (memory.instruction_cache, memory.data_cache) if cache]
        found.append("L1 " + " + ".join(_size(size) for size in sizes))
    if memory.flash is not None:
        lines = [one for one in (memory.flash.instruction, memory.flash.data) if one is not None]
        text = " + ".join(f"{one.sets * one.ways} x {one.line_bytes} B" for one in lines)
        found.append(f"flash lines {text}" + (", prefetch" if memory.flash.prefetch else ""))
    return "; ".join(found) or "nothing"


# -- one part ---------------------------------------------------------------------------------------------------------


def _show(name: str, json: str | None) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from tinysim.part import load_part
    from tinysim.units import format_hz

    part = load_part(name)
    if json:
        write_json({"schema": SCHEMA, "parts": [part_record(part)]}, json)
    if json == "-":
        return
    out = console()
    out.print(Text(f"{part.title} ({part.vendor}): {part.core}, {part.fpu}, up to {format_hz(part.max_clock_hz)}"))
    memories = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("memory", "kind", "from", "size", "also at"):
        memories.add_column(heading, justify="right" if heading in ("from", "size") else "left")
    for region in part.regions:
        aliases = ", ".join(f"{base:#010x}" for base in region.aliases)
        kind = region.kind.value + ("" if region.executable else ", no code")
        memories.add_row(region.name, kind, f"{region.base:#010x}", _size(region.size), aliases)
    out.print(memories)
    for role, choices in part.placement.items():
        out.print(Text(f"{role} goes to {', '.join(choices)}"))
    if part.wait_table is not None:
        steps = ", ".join(f"{waits} up to {format_hz(clock)}" for clock, waits in part.wait_table.steps)
        bus = part.bus_clock
        by = f" of the bus (the core's clock over {bus.divider} above {format_hz(bus.above_hz)})" if bus else ""
        out.print(Text(f"wait states{by}: {steps}"))
    out.print(Text(f"in front of memory: {_accelerator(part)}"))
    for supply in part.supplies:
        power = supply.microwatts_per_mhz()
        out.print(Text(f"{supply.mode}: " + _power(supply.microamps, power, supply.volts)))
    for note in part.notes:
        out.print(Text(note))
    sources = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("values of", "confidence", "source"):
        sources.add_column(heading, no_wrap=heading != "source", overflow="fold")
    for source in part.sources:
        note = f" ({source.note})" if source.note else ""
        sources.add_row(Text(source.field), source.confidence.value, Text(source.source + note))
    out.print(sources)


def _power(microamps: tuple[float, ...] | None, microwatts: tuple[float, ...] | None, volts: float | None) -> str:
    def text(values: tuple[float, ...]) -> str:
        low, typical, high = values
        return f"{typical:g}" if low == high else f"{low:g} to {high:g}"

    found = [f"{text(microamps)} µA/MHz"] if microamps else []
    if microwatts:
        found.append(f"{text(microwatts)} µW/MHz" + (f" at {volts:g} V" if volts else ""))
    return ", ".join(found) + ("" if microwatts else " (no voltage given, so no energy)")


def part_record(part: Part) -> dict[str, Any]:
    """A part as JSON values: sizes in bytes, clocks in hertz, addresses as numbers."""
    return {
        "name": part.name,
        "title": part.title,
        "vendor": part.vendor,
        "core": part.core,
        "fpu": part.fpu,
        "boards": list(part.boards),
        "max_clock_hz": part.max_clock_hz,
        "default_clock_hz": part.default_clock_hz,
        "regions": [
            {
                "name": region.name, "kind": region.kind.value, "base": region.base, "size_bytes": region.size,
                "executable": region.executable, "aliases": list(region.aliases),
            }
            for region in part.regions
        ],
        "placement": {role: list(choices) for role, choices in part.placement.items()},
        "wait_states": None if part.wait_table is None else [
            {"max_hz": clock, "wait_states": waits} for clock, waits in part.wait_table.steps
        ],
        "in_front_of_memory": _accelerator(part),
        "price": None if part.price is None else {
            "amount": part.price.amount, "currency": part.price.currency, "quantity": part.price.quantity,
            "date": part.price.date,
        },
        "power": [
            {
                "mode": supply.mode, "volts": supply.volts, "microamps_per_mhz": supply.microamps,
                "microwatts_per_mhz": supply.microwatts_per_mhz(), "source": supply.source,
            }
            for supply in part.supplies
        ],
        "notes": list(part.notes),
        "sources": [
            {"field": one.field, "source": one.source, "confidence": one.confidence.value, "note": one.note}
            for one in part.sources
        ],
    }  # fmt: skip


# -- files of the user's own ------------------------------------------------------------------------------------------


def _check(files: list[str], json: str | None) -> None:
    from tinysim.partlint import Severity, check_file

    if not files:
        raise InputError("`parts check` needs a file", hint="tinysim parts check my.toml")
    found: list[Finding] = [finding for file in files for finding in check_file(Path(file))]
    if json:
        write_json(
            {
                "schema": SCHEMA,
                "findings": [
                    {
                        "path": one.path, "line": one.line, "field": one.field, "message": one.message,
                        "severity": one.severity.value, "hint": one.hint,
                    }
                    for one in found
                ],
            },
            json,
        )  # fmt: skip
    errors = [finding for finding in found if finding.severity is Severity.ERROR]
    if json != "-":
        for finding in found:
            label = "" if finding.severity is Severity.ERROR else f"{finding.severity.value}: "
            print(f"{finding.path}:{finding.line}: {finding.field}: {label}{finding.message}")
        if not found:
            print(f"{', '.join(files)}: nothing wrong")
    if errors:
        raise typer.Exit(code=InputError.exit_code)


def _new(paths: list[str], like: str | None) -> None:
    from tinysim.catalogue import new_part
    from tinysim.part import load_part

    if len(paths) > 1 or like is None:
        raise InputError(
            "`parts new` needs one path and a part to start from", hint="tinysim parts new my.toml --like stm32f407vg"
        )
    model = load_part(like)
    written = new_part(model, Path(paths[0] if paths else f"my-{model.name}.toml"))
    print(f"wrote {written[0]} and {written[1]}; edit them, then: tinysim parts check {written[0]}")


def _import(paths: list[str], clock: str | None, fpu: str | None, kinds: list[str]) -> None:
    from tinysim.renode.import_part import parse_kinds, write_part
    from tinysim.units import parse_hz

    if len(paths) != 2:
        raise InputError(
            "`parts import` needs a Renode description and a path", hint="tinysim parts import board.repl my.toml"
        )
    notes = write_part(
        Path(paths[0]), Path(paths[1]), clock_hz=parse_hz(clock) if clock else None, fpu=fpu, kinds=parse_kinds(kinds)
    )
    print(f"wrote {paths[1]}; check it: tinysim parts check {paths[1]}")
    for note in notes:
        print(f"note: {note}")
