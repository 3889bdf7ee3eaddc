"""Third-party sources of the firmware: fetched once by their registries' own clients, pinned, hashed and cached.

``firmware/sources.toml`` names each package, its version and the SHA-256 of its archive. A package is unpacked into
``<cache>/sources/<key>-<hash>`` by a rename, so that a folder that exists is complete whoever made it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from tinysim.data import cache_folder, firmware_folder
from tinysim.errors import ToolchainError

__all__ = ["Client", "Package", "cargo_environment", "fetch", "find_cargo", "load_packages"]

_SPARSE_DEFAULT = (1, 70)  # the first cargo whose default registry protocol is sparse
_SPARSE_STABLE = (1, 68)  # the first cargo that speaks it without an unstable option
_CARGO_HINT = "apt-get install cargo"


class Client(StrEnum):
    """The registry client that fetches a package."""

    CARGO = "cargo"
    PIP = "pip"


@dataclass(frozen=True, slots=True)
class Package:
    """One third-party package: what it is, where it comes from and the hash of its archive."""

    key: str
    title: str
    client: Client
    name: str
    version: str
    sha256: str
    license: str
    keep: tuple[str, ...] = ()
    lock: str = ""
    stubs: tuple[Mapping[str, Any], ...] = ()

    @property
    def folder(self) -> Path:
        """Where the unpacked package is, or will be."""
        return cache_folder() / "sources" / f"{self.key}-{self.version}-{self.sha256[:16]}"

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def load_packages(file: Path | None = None) -> dict[str, Package]:
    """The packages of ``sources.toml``, by key."""
    table = tomllib.loads((file or firmware_folder() / "sources.toml").read_text())
    return {
        key: Package(
            key=key,
            title=entry["title"],
            client=Client(entry["client"]),
            name=entry["name"],
            version=entry["version"],
            sha256=entry["sha256"],
            license=entry["license"],
            keep=tuple(entry.get("keep", ())),
            lock=entry.get("lock", ""),
            stubs=tuple(entry.get("stubs", ())),
        )
        for key, entry in table["package"].items()
    }


def fetch(package: Package) -> Path:
    """The folder of the unpacked package; fetched by its registry's client the first time.

    Raises ToolchainError when the client is missing or fails, or when the archive's hash is not the pinned one.
    """
    folder = package.folder
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{package.key}-", dir=folder.parent) as scratch:
        unpack: Callable[[Package, Path], Path] = _cargo if package.client is Client.CARGO else _pip
        unpacked = unpack(package, Path(scratch))
        try:
            unpacked.rename(folder)
        except OSError:
            if not folder.is_dir():  # not another process that was first
                raise
    return folder


def _run(command: Sequence[str], package: Package, folder: Path, environment: Mapping[str, str] | None = None) -> None:
    """Runs a registry client; its last lines are the details of the error."""
    result = subprocess.run(
        command, cwd=folder, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines()
        raise ToolchainError(
            f"{command[0] if package.client is Client.CARGO else 'pip'} could not fetch {package}",
            hint="check the network and the registry settings of that client, then try again",
            details="\n".join(lines[-12:]),
        )


def _wrong_hash(package: Package, found: str) -> ToolchainError:
    return ToolchainError(
        f"the archive of {package} has SHA-256 {found}, not the pinned {package.sha256}",
        hint="the registry or a mirror serves something else: do not use it",
    )


def _pip(package: Package, scratch: Path) -> Path:
    """Downloads a wheel by pip, checks its hash and unpacks what ``keep`` names."""
    _run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--only-binary", ":all:", "--dest", "wheel", f"{package.name}=={package.version}"],
        package,
        scratch,
    )  # fmt: skip
    (wheel,) = (scratch / "wheel").glob("*.whl")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != package.sha256:
        raise _wrong_hash(package, found)
    unpacked = scratch / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        wanted = [name for name in archive.namelist() if not package.keep or name.startswith(package.keep)]
        archive.extractall(unpacked, wanted)
    return unpacked


def find_cargo() -> str:
    """The path of cargo: on the path, or where rustup puts it. Raises ToolchainError when there is none."""
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    cargo = shutil.which("cargo") or shutil.which("cargo", path=str(home / "bin"))
    if cargo is None:
        raise ToolchainError("cargo is needed to fetch sources and was not found", hint=_CARGO_HINT)
    return cargo


def _cargo(package: Package, scratch: Path) -> Path:
    """Vendors a crate by cargo with the committed lock file, which holds the pinned hash of the archive."""
    cargo = find_cargo()
    _write_manifest(package, scratch)
    _run(
        [cargo, "vendor", "--quiet", "--locked", "--respect-source-config", "--versioned-dirs", "vendored"],
        package,
        scratch,
        cargo_environment(_cargo_version(cargo)),
    )
    unpacked = scratch / "vendored" / f"{package.name}-{package.version}"
    found = json.loads((unpacked / ".cargo-checksum.json").read_text())["package"]
    if found != package.sha256:
        raise _wrong_hash(package, found)
    return unpacked


def _write_manifest(package: Package, folder: Path) -> None:
    """The small local package that depends on the crate, with empty stand-ins for the crate's own dependencies."""
    manifest = [
        *("[package]", 'name = "fetch"', 'version = "0.0.0"', 'edition = "2018"', "[lib]", 'path = "lib.rs"'),
        *("[dependencies]", f'{package.name} = "={package.version}"', "[patch.crates-io]"),
    ]
    (folder / "lib.rs").touch()
    for stub in package.stubs:
        place = folder / "stubs" / stub["name"]
        place.mkdir(parents=True)
        (place / "lib.rs").touch()
        text = [
            *("[package]", f'name = "{stub["name"]}"', f'version = "{stub["version"]}"', 'edition = "2018"'),
            *("[lib]", 'path = "lib.rs"', "[features]", *(f"{name} = []" for name in stub.get("features", ()))),
        ]
        (place / "Cargo.toml").write_text("\n".join(text) + "\n")
        manifest.append(f'{stub["name"]} = {{ path = "stubs/{stub["name"]}" }}')
    (folder / "Cargo.toml").write_text("\n".join(manifest) + "\n")
    shutil.copy(firmware_folder() / package.lock, folder / "Cargo.lock")


def _cargo_version(cargo: str) -> tuple[int, int]:
    text = subprocess.run([cargo, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.match(r"cargo (\d+)\.(\d+)", text)
    if match is None:
        raise ToolchainError(f"{cargo} does not say its version", hint=_CARGO_HINT, details=text)
    return int(match[1]), int(match[2])


def cargo_environment(version: tuple[int, int]) -> dict[str, str]:
    """What cargo needs to use the sparse registry, which some networks serve alone.

    It is the default from 1.70; 1.68 and 1.69 are asked for it; before that it is an unstable option, which a release
    build of cargo takes only with RUSTC_BOOTSTRAP (the Rust reference, "Registry protocols").
    """
    if version >= _SPARSE_DEFAULT:
        return {}
    if version >= _SPARSE_STABLE:
        return {"CARGO_REGISTRIES_CRATES_IO_PROTOCOL": "sparse"}
    return {"RUSTC_BOOTSTRAP": "1", "CARGO_UNSTABLE_SPARSE_REGISTRY": "true"}
