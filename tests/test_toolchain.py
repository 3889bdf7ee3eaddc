"""The arm GCC: found, identified, asked the right way, and refused with a hint."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tinysim.errors import PartError, ToolchainError
from tinysim.toolchain import FloatAbi, find_toolchain, first_errors, machine_flags


def script(folder: Path, name: str, *lines: str) -> Path:
    """A stand-in for a program."""
    path = folder / name
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    path.chmod(0o755)
    return path


def test_default_is_the_one_on_the_path() -> None:
    toolchain = find_toolchain()
    assert toolchain.gcc == shutil.which("arm-none-eabi-gcc")
    asked = subprocess.run(
        [toolchain.gcc, "-dumpfullversion"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert toolchain.number == asked


def test_prefix_and_path_name_the_same() -> None:
    path = shutil.which("arm-none-eabi-gcc")
    assert path is not None
    assert find_toolchain(path) == find_toolchain("arm-none-eabi-") == find_toolchain(path.removesuffix("gcc"))


def test_absent_compiler_names_the_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    find_toolchain.cache_clear()
    with pytest.raises(ToolchainError) as caught:
        find_toolchain()
    find_toolchain.cache_clear()
    assert caught.value.hint.startswith("apt-get install gcc-arm-none-eabi")


def test_absent_named_compiler_is_named() -> None:
    with pytest.raises(ToolchainError, match="no-such-prefix-"):
        find_toolchain("no-such-prefix-")


def test_compiler_of_another_target_is_refused(tmp_path: Path) -> None:
    fake = script(tmp_path, "x86_64-linux-gnu-gcc", "echo x86_64-linux-gnu")
    with pytest.raises(ToolchainError, match="not for bare-metal Arm"):
        find_toolchain(str(fake))


def test_version_of_other_builds_is_read(tmp_path: Path) -> None:
    fake = script(
        tmp_path,
        "arm-none-eabi-gcc",
        "case $1 in -dumpmachine) echo arm-none-eabi;; -print-prog-name=ar) echo ar;; "
        '*) echo "arm-none-eabi-gcc (Arm GNU Toolchain 13.3.Rel1 (Build arm-13.24)) 13.3.1 20240614";; esac',
    )
    assert find_toolchain(str(fake)).number == "13.3.1"


@pytest.mark.parametrize(
    ("core", "fpu", "abi", "macros"),
    [
        ("cortex-m4", "fpv4-sp", FloatAbi.HARD, {"__ARM_FP": "4", "__ARM_PCS_VFP": "1"}),
        ("cortex-m4", "fpv4-sp", FloatAbi.SOFTFP, {"__ARM_FP": "4", "__ARM_PCS_VFP": None}),
        ("cortex-m4", "fpv4-sp", FloatAbi.SOFT, {"__ARM_FP": None}),
        ("cortex-m7", "fpv5-sp", FloatAbi.HARD, {"__ARM_FP": "4"}),
        ("cortex-m7", "fpv5-dp", FloatAbi.HARD, {"__ARM_FP": "0xe"}),
    ],
)
def test_flags_choose_the_fpu(core: str, fpu: str, abi: FloatAbi, macros: dict[str, str | None]) -> None:
    """The compiler's own macros say which FPU it compiles for (ACLE: __ARM_FP has bit 2 for single, 3 for double)."""
    toolchain = find_toolchain()
    text = toolchain.run([*machine_flags(core, fpu, abi), "-dM", "-E", "-x", "c", "/dev/null"], "asking for macros")
    defined = dict(line.split(" ", 2)[1:] for line in text.splitlines() if line.count(" ") == 2)
    for name, value in macros.items():
        found = defined.get(name)
        if value is None:
            assert found is None
        else:
            assert found is not None
            bits = int(found, 0) & (0b1100 if name == "__ARM_FP" else 1)
            assert bits == int(value, 0) & (0b1100 if name == "__ARM_FP" else 1)
    assert defined["__ARM_FEATURE_DSP"] == "1"


@pytest.mark.parametrize(("core", "fpu"), [("cortex-m33", "fpv5-sp"), ("cortex-m4", "vfp3")])
def test_unknown_core_or_fpu_is_refused(core: str, fpu: str) -> None:
    with pytest.raises(PartError, match=r"cortex-m33|vfp3"):
        machine_flags(core, fpu, FloatAbi.HARD)


def test_compile_errors_are_the_details(tmp_path: Path) -> None:
    source = tmp_path / "wrong.c"
    source.write_text("int f(void) { return missing_name; }\n")
    with pytest.raises(ToolchainError) as caught:
        find_toolchain().run(["-c", str(source), "-o", "/dev/null"], "compiling wrong.c")
    assert "missing_name" in caught.value.details
    assert "wrong.c:1" in caught.value.details


def test_first_errors_skips_chatter() -> None:
    messages = (
        "In file included from a.h:3:\nb.h:9:1: error: nope\nnote: see\nld: region `RAM' overflowed by 12 bytes\n"
    )
    assert first_errors(messages) == ["b.h:9:1: error: nope", "ld: region `RAM' overflowed by 12 bytes"]
    assert first_errors("odd\nthings\n", count=1) == ["odd"]
