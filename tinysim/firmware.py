"""Firmware: an ELF made from a model for a part, and how it was made.

``build`` compiles the runtime and kernels once for each (core, FPU, flags, compiler), then only a model's operator
table and its weights. What is built stays in the per-user cache under the hash of all that went into it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tinysim.data import cache_folder, firmware_folder
from tinysim.errors import CapacityError, InputError, ToolchainError
from tinysim.linker import Layout, PlacedPart, layouts, overflows, script
from tinysim.objects import Job, Progress, build_archive, compile_jobs, hash_of
from tinysim.runtime import Kernels, Library, OperatorUse, Runtime, load_runtime
from tinysim.toolchain import FloatAbi, Opt, Toolchain, find_toolchain, machine_flags

__all__ = ["Firmware", "FloatAbi", "Kernels", "OperatorUse", "Opt", "build"]

STACK_BYTES = 8192  # TFLM's deepest path (planning memory, then a kernel) stays below half of it
_FORMAT = 1  # of what is kept in the cache

# -g1 gives line tables and changes no code. Sections of their own let the linker drop what the model does not call.
_COMMON_FLAGS = ("-g1", "-ffunction-sections", "-fdata-sections", "-fno-common")
_C_FLAGS = ("-std=gnu11",)
_CXX_FLAGS = ("-std=gnu++14", "-fno-rtti", "-fno-exceptions", "-fno-threadsafe-statics", "-fno-use-cxa-atexit")
_THIRD_PARTY_FLAGS = ("-w",)
_THIRD_PARTY_CXX_FLAGS = ("-fpermissive",)
_OWN_FLAGS = ("-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-sign-compare")
_LINK_FLAGS = ("-nostartfiles", "--specs=nosys.specs", "-Wl,--gc-sections", "-Wl,--build-id=none")

_PROGRAM = ("main.cc", "marks.c", "startup.c")
_ENTRY_SYMBOLS = ("Reset_Handler", "tinysim_vectors", "tinysim_io")
_KEPT = {"firmware.elf", "firmware.json", "firmware.map", "link.ld", "operators.cc"}
_MODEL_ASSEMBLY = """\
    .syntax unified
    .section .weights, "a", %progbits
    .balign 16
    .global tinysim_model
    .type tinysim_model, %object
tinysim_model:
    .incbin "model.tflite"
    .size tinysim_model, . - tinysim_model
    .balign 4
"""


@dataclass(frozen=True, slots=True)
class Firmware:
    """An ELF and how it was made.

    ``sources`` says what each library is, with its hash. ``placement`` is the memory of the part that each purpose was
    given. ``arena_bytes`` and ``stack_bytes`` are what was set aside, not what is used. An ``oversized`` firmware was
    linked for memories larger than the part's and fits nothing.
    """

    path: Path
    sha256: str
    runtime: str
    kernels: str
    opt: str
    float_abi: str
    compiler: str
    flags: tuple[str, ...]
    sources: Mapping[str, str]
    model: Path
    part: str
    arena_bytes: int
    stack_bytes: int
    placement: Mapping[str, str]
    oversized: bool


def build(
    model: Path,
    part: PlacedPart,
    *,
    operators: Sequence[OperatorUse],
    kernels: Kernels = Kernels.CMSIS_NN,
    opt: Opt = Opt.O2,
    float_abi: FloatAbi | str = FloatAbi.HARD,
    cc: str | None = None,
    arena_bytes: int | None = None,
    stack_bytes: int = STACK_BYTES,
    oversized: bool = False,
    progress: Progress | None = None,
) -> Firmware:
    """The firmware that runs ``model`` on ``part``.

    ``arena_bytes=None`` gives the tensor arena all memory left, to find out what it needs. ``progress`` is told a
    label, the number of steps done and their total.

    Raises ModelError for an operator the runtime lacks, CapacityError when the firmware does not fit the part, and
    ToolchainError when the compiler or the sources are missing or fail.
    """
    kernels, opt, float_abi = Kernels(kernels), Opt(opt), FloatAbi(float_abi)
    runtime = load_runtime()
    registrations = runtime.registrations(operators, kernels)
    toolchain = find_toolchain(cc)
    flags = (*machine_flags(part.core, part.fpu, float_abi), f"-{opt}", *_COMMON_FLAGS)
    try:
        weights = model.read_bytes()
    except OSError as error:
        raise InputError(f"{model} cannot be read: {error.strerror}", hint="give the path of a .tflite file") from error

    names = ["tflm", *(["cmsis-nn"] if kernels is Kernels.CMSIS_NN else [])]
    libraries = [runtime.library(name) for name in names]
    jobs = _library_jobs(libraries, flags)
    glue = _glue_jobs(runtime, libraries, kernels, flags)
    choices = list(layouts(part, oversized=oversized, largest_arena=arena_bytes is None))
    scripts = [
        script(firmware_folder() / "link.ld.in", layout, arena_bytes=arena_bytes, stack_bytes=stack_bytes)
        for layout in choices
    ]
    key = hash_of(
        _FORMAT,
        toolchain.version,
        flags,
        _LINK_FLAGS,
        [job.target(toolchain).stem for job in [*jobs, *glue]],
        registrations,
        scripts,
        weights,
    )
    folder = cache_folder() / "firmware" / key[:32]
    if not folder.is_dir():
        objects = compile_jobs(toolchain, [*jobs, *glue], "compiling", progress)
        archive = build_archive(toolchain, f"{runtime.name}-{kernels}", objects)
        with tempfile.TemporaryDirectory(prefix=".", dir=_made(folder.parent)) as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            own = _model_objects(made, libraries, toolchain, flags, registrations, model)
            layout = _link(made, toolchain, flags, own, archive, choices, scripts, part.name)
            _record(made, layout)
            _publish(made, folder)
    facts: dict[str, Any] = json.loads((folder / "firmware.json").read_text())
    return Firmware(
        path=folder / "firmware.elf",
        sha256=facts["sha256"],
        runtime=f"{runtime.name} {runtime.version}",
        kernels=kernels,
        opt=opt,
        float_abi=float_abi,
        compiler=toolchain.version,
        flags=flags,
        sources=MappingProxyType({library.name: library.origin for library in libraries}),
        model=model,
        part=part.name,
        arena_bytes=facts["arena_bytes"],
        stack_bytes=stack_bytes,
        placement=MappingProxyType(facts["placement"]),
        oversized=oversized,
    )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_cxx(source: Path) -> bool:
    return source.suffix in {".cc", ".cpp"}


def _library_jobs(libraries: Sequence[Library], flags: tuple[str, ...]) -> list[Job]:
    """How each third-party source is compiled."""
    jobs = []
    for library in libraries:
        defines = tuple(f"-D{name}" for name in library.defines)
        for source in library.sources:
            language = (*_CXX_FLAGS, *_THIRD_PARTY_CXX_FLAGS) if _is_cxx(source) else _C_FLAGS
            jobs.append(
                Job(
                    source=source,
                    flags=(*flags, *language, *_THIRD_PARTY_FLAGS, *defines),
                    include=library.include,
                    origin=library.origin,
                    prefixes=((library.root, library.name),),
                )
            )
    return jobs


def _own_job(source: Path, libraries: Sequence[Library], flags: tuple[str, ...]) -> Job:
    """How a source of our own is compiled: with all libraries' headers at hand."""
    home = firmware_folder()
    headers = sorted({*home.rglob("*.h"), *source.parent.rglob("*.h")})
    origin = hash_of([(path.name, hash_of(path.read_bytes())) for path in headers], [lib.origin for lib in libraries])
    defines = tuple(dict.fromkeys(f"-D{name}" for library in libraries for name in library.defines))
    return Job(
        source=source,
        flags=(*flags, *(_CXX_FLAGS if _is_cxx(source) else _C_FLAGS), *_OWN_FLAGS, *defines),
        include=(home,),
        origin=origin,
        system=tuple(path for library in libraries for path in library.include),
        prefixes=(*((library.root, library.name) for library in libraries), (home, "firmware")),
    )


def _glue_jobs(runtime: Runtime, libraries: Sequence[Library], kernels: Kernels, flags: tuple[str, ...]) -> list[Job]:
    """How the main program, start-up code, runtime shim and our own kernels are compiled."""
    sources = [firmware_folder() / name for name in _PROGRAM]
    return [_own_job(source, libraries, flags) for source in (*sources, *runtime.glue_sources(kernels))]


def _model_objects(
    folder: Path,
    libraries: Sequence[Library],
    toolchain: Toolchain,
    flags: tuple[str, ...],
    registrations: Mapping[str, str],
    model: Path,
) -> list[Path]:
    """Compiles what a model alone needs: the table of its operators, and its bytes."""
    table, weights = folder / "operators.cc", folder / "model.S"
    table.write_text(_operator_table(registrations))
    weights.write_text(_MODEL_ASSEMBLY)
    shutil.copyfile(model, folder / "model.tflite")
    objects = []
    for source in (table, weights):
        job = replace(_own_job(source, libraries, flags), prefixes=((folder, "model"), (firmware_folder(), "firmware")))
        target = source.with_suffix(".o")
        toolchain.run(job.command(target), f"compiling {source.name}", folder)
        objects.append(target)
    return objects


def _operator_table(registrations: Mapping[str, str]) -> str:
    """The C++ source of the table that operators.h declares."""
    from tflite.BuiltinOperator import BuiltinOperator

    lines = ["// The operators of one model, and the kernels that compute them.", '#include "operators.h"', ""]
    for function in registrations.values():
        *spaces, name = function.split("::")
        opened = " ".join(f"namespace {space} {{" for space in spaces)
        lines.append(f"{opened} TfLiteRegistration* {name}(); {'}' * len(spaces)}")
    entries = [
        f"    {{{getattr(BuiltinOperator, operator)}, ::{function}}},  // {operator}"
        for operator, function in registrations.items()
    ]
    lines += ["", "namespace tinysim {", "const OperatorEntry kOperators[] = {", *entries, "};"]
    lines += [f"const int kOperatorCount = {len(entries)};", "}  // namespace tinysim", ""]
    return "\n".join(lines)


def _link(
    folder: Path,
    toolchain: Toolchain,
    flags: tuple[str, ...],
    objects: Sequence[Path],
    archive: Path,
    choices: Sequence[Layout],
    scripts: Sequence[str],
    part: str,
) -> Layout:
    """Links for the first layout that holds everything. Raises CapacityError when none does."""
    # Start-up code and main are found by ENTRY and by name: an archive member is taken only when asked for.
    wanted = [f"-Wl,--undefined={name}" for name in _ENTRY_SYMBOLS]
    shortage: dict[str, int] = {}
    for layout, text in zip(choices, scripts, strict=True):
        (folder / "link.ld").write_text(text)
        files = [*map(str, objects), str(archive), "-lm", "-lc", "-lgcc"]
        layout_flags = ["-Wl,-Tlink.ld", "-Wl,-Map=firmware.map"]
        arguments = [*flags, *_LINK_FLAGS, *wanted, *layout_flags, *files, "-o", "firmware.elf"]
        try:
            toolchain.link(arguments, "linking the firmware", folder)
        except ToolchainError as error:
            missing = overflows(error.details, layout)
            if not missing:
                raise
            shortage = shortage or missing
            continue
        return layout
    words = ", ".join(f"{name} is {count:,} bytes too small" for name, count in shortage.items())
    raise CapacityError(
        f"the firmware does not fit part {part}: {words}",
        hint="choose a part with more memory, or a smaller model",
    )


def _record(folder: Path, layout: Layout) -> None:
    """Writes down what is known of the linked firmware beside it."""
    from elftools.elf.elffile import ELFFile

    elf = folder / "firmware.elf"
    with elf.open("rb") as stream:
        (arena,) = ELFFile(stream).get_section_by_name(".symtab").get_symbol_by_name("__arena_size")
    facts = {
        "sha256": hashlib.sha256(elf.read_bytes()).hexdigest(),
        "arena_bytes": arena["st_value"],
        "placement": layout.names,
    }
    (folder / "firmware.json").write_text(json.dumps(facts, indent=1) + "\n")


def _publish(made: Path, folder: Path) -> None:
    """Moves a finished folder to its place in the cache; another process may have been first."""
    for path in made.iterdir():
        if path.name not in _KEPT:
            path.unlink()
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
