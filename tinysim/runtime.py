"""What an inference runtime is made of: its libraries, its glue and its operators, read from one description file.

The shipped description is ``firmware/tflm_2020.toml``. A TFLM tree of your own is described by a copy of it with
``path`` in place of ``package`` and a shim of its own beside it; the environment variable ``TINYSIM_RUNTIME`` names
that file.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from tinysim.data import firmware_folder
from tinysim.errors import InputError, ModelError
from tinysim.sources import fetch, load_packages

__all__ = ["Kernels", "Library", "Operator", "OperatorUse", "Runtime", "load_runtime"]

_CODE_SUFFIXES = {".c", ".cc", ".cpp", ".h", ".hpp", ".inc"}


class Kernels(StrEnum):
    """Which kernels compute the operators that have more than one."""

    CMSIS_NN = "cmsis-nn"
    REFERENCE = "reference"


@dataclass(frozen=True, slots=True)
class OperatorUse:
    """An operator a model has: the schema's name, such as ``CONV_2D``, and the version the converter wrote."""

    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator the runtime has: the newest version it understands, and the function that registers each kernel.

    ``types`` are the element types of input number ``data`` that its kernels compute on, ``outputs`` those of output 0;
    empty where the description leaves it to the kernels. ``cmsis_nn_types`` are those that CMSIS-NN computes.
    """

    name: str
    version: int
    register: Mapping[Kernels, str]
    types: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    data: int = 0
    cmsis_nn_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Library:
    """Third-party sources that are compiled as they are. ``origin`` says what they are, with a hash."""

    name: str
    root: Path
    include: tuple[Path, ...]
    defines: tuple[str, ...]
    sources: tuple[Path, ...]
    origin: str


@dataclass(frozen=True, slots=True)
class Runtime:
    """A description read from its file; ``library()`` fetches what it names."""

    name: str
    version: str
    folder: Path
    operators: Mapping[str, Operator]
    glue: Mapping[str, Sequence[str]]
    libraries: Mapping[str, Mapping[str, Any]]

    def library(self, name: str) -> Library:
        """One of the libraries, fetched when it is not in the cache. Raises ToolchainError."""
        entry = self.libraries[name]
        if "package" in entry:
            package = load_packages()[entry["package"]]
            root = fetch(package) / entry["root"]
            origin = f"{package} sha256:{package.sha256}"
        else:
            root = Path(entry["path"]).expanduser() / entry.get("root", "")
            if not root.is_dir():
                raise InputError(f"library {name!r} of runtime {self.name!r} is not at {root}", hint="correct its path")
            origin = f"{root} sha256:{_tree_hash(root)}"
        excluded = {path for pattern in entry.get("exclude", ()) for path in root.glob(pattern)}
        sources = sorted({path for pattern in entry["sources"] for path in root.glob(pattern)} - excluded)
        if not sources:
            raise InputError(f"library {name!r} of runtime {self.name!r} has no sources at {root}", hint="correct it")
        return Library(
            name=name,
            root=root,
            include=tuple(root / folder for folder in entry["include"]),
            defines=tuple(entry.get("defines", ())),
            sources=tuple(sources),
            origin=origin,
        )

    def glue_sources(self, kernels: Kernels) -> tuple[Path, ...]:
        """Our own sources that are compiled against this runtime."""
        patterns = [*self.glue["sources"], *self.glue.get(kernels, ())]
        return tuple(sorted({path for pattern in patterns for path in self.folder.glob(pattern)}))

    def unsupported(self, operators: Sequence[OperatorUse]) -> tuple[OperatorUse, ...]:
        """Those of the operators that the runtime lacks, or has in older versions only."""
        return tuple(
            use for use in operators if use.name not in self.operators or use.version > self.operators[use.name].version
        )

    def registrations(self, operators: Sequence[OperatorUse], kernels: Kernels) -> dict[str, str]:
        """Operator name to registration function, each once, in the order given.

        Raises ModelError that names every operator the runtime lacks.
        """
        lacking = self.unsupported(operators)
        if lacking:
            words = ", ".join(
                f"{use.name} version {use.version} (known: up to {self.operators[use.name].version})"
                if use.name in self.operators
                else use.name
                for use in dict.fromkeys(lacking)
            )
            raise ModelError(
                f"the runtime {self.name} {self.version} has no {words}",
                hint="build the model without it, or describe a newer runtime in the file TINYSIM_RUNTIME names",
            )
        found: dict[str, str] = {}
        for use in operators:
            register = self.operators[use.name].register
            found[use.name] = register.get(kernels, register[Kernels.REFERENCE])
        return found


def load_runtime(file: Path | None = None) -> Runtime:
    """The runtime described by ``file``, by the file ``TINYSIM_RUNTIME`` names, or the one that comes with tinysim."""
    chosen = file or Path(os.environ.get("TINYSIM_RUNTIME") or firmware_folder() / "tflm_2020.toml")
    try:
        table = tomllib.loads(chosen.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        text = f"{chosen} is not a description of a runtime: {error}"
        raise InputError(text, hint="see firmware/tflm_2020.toml") from error
    if table.get("schema") != "tinysim.runtime/1":
        raise InputError(f"{chosen} is not of schema tinysim.runtime/1", hint="see firmware/tflm_2020.toml")
    cmsis_nn_types: tuple[str, ...] = tuple(table["operators"].get("cmsis-nn-types", ()))
    operators = {
        name: Operator(
            name=name,
            version=entry["version"],
            register={Kernels.REFERENCE: entry["register"]}
            | ({Kernels.CMSIS_NN: entry[Kernels.CMSIS_NN]} if Kernels.CMSIS_NN in entry else {}),
            types=tuple(entry.get("types", ())),
            outputs=tuple(entry.get("outputs") or entry.get("types") or ()),
            data=entry.get("data", 0),
            cmsis_nn_types=cmsis_nn_types if Kernels.CMSIS_NN in entry else (),
        )
        for name, entry in table["operators"].items()
        if isinstance(entry, dict)
    }
    return Runtime(
        name=table["name"],
        version=table["version"],
        folder=chosen.resolve().parent,
        operators=operators,
        glue=table["glue"],
        libraries=table["library"],
    )


def _tree_hash(root: Path) -> str:
    """A hash of every source and header below a folder that no registry vouches for."""
    digest = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.suffix in _CODE_SUFFIXES and path.is_file()):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
