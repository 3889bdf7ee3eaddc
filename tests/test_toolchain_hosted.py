"""A GCC made for Linux on Arm as a compiler for bare metal."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tinysim.bench import BuildOptions, bench
from tinysim.errors import ToolchainError
from tinysim.toolchain import FloatAbi, find_toolchain, machine_flags

ROOT = Path(__file__).resolve().parents[1]
HOSTED = next((name for name in ("arm-linux-gnueabihf-gcc-11", "arm-linux-gnueabihf-gcc") if shutil.which(name)), None)
needs_hosted = pytest.mark.skipif(
    HOSTED is None, reason="no GCC for Linux on Arm (apt-get install g++-11-arm-linux-gnueabihf)"
)


def stand_in(folder: Path) -> Path:
    """A program that answers like a GCC for Linux."""
    path = folder / "arm-linux-gnueabihf-gcc-99"
    path.write_text(
        "#!/bin/sh\ncase $1 in -dumpmachine) echo arm-linux-gnueabihf;; -print-prog-name=ar) echo ar;;\n"
        f"-print-file-name=include) echo {folder}/own;; --version) echo 'arm-linux-gnueabihf-gcc-99 99.1.0';;\n"
        '*) echo "$@" >&2; exit 1;; esac\n'
    )
    path.chmod(0o755)
    return path


def test_takes_headers_and_linker_of_the_bare_metal_one(tmp_path: Path) -> None:
    toolchain, bare = find_toolchain(str(stand_in(tmp_path))), find_toolchain()
    assert (toolchain.linker, toolchain.number) == (bare.gcc, "99.1.0")
    assert bare.own_flags == () and bare.linker == bare.gcc
    flags = toolchain.own_flags
    assert {"-mabi=aapcs", "-fshort-enums", "-fno-pic", "-fno-pie", "-nostdinc", "-U__linux__"} <= set(flags)
    folders = [flags[number + 1] for number, flag in enumerate(flags) if flag == "-isystem"]
    assert f"{tmp_path}/own" in folders
    assert any((Path(folder) / "newlib.h").is_file() for folder in folders)
    assert not any("/gcc/arm-none-eabi" in folder for folder in folders)
    with pytest.raises(ToolchainError) as caught:
        toolchain.run(["-c", "x.c"], "compiling x.c")
    assert "-nostdinc" in caught.value.details


@needs_hosted
def test_compiles_for_bare_metal(tmp_path: Path) -> None:
    source, target = tmp_path / "x.c", tmp_path / "x.o"
    source.write_text(
        '#include <math.h>\n#include <newlib.h>\nenum e { A, B };\n_Static_assert(sizeof(enum e) == 1, "short");\n'
        "#if defined(__linux__) || defined(__PIC__)\n#error hosted\n#endif\nfloat f(float x) { return expf(x); }\n"
    )
    toolchain = find_toolchain(HOSTED)
    flags = machine_flags("cortex-m4", "fpv4-sp", FloatAbi.HARD)
    toolchain.run([*flags, "-O2", "-Wall", "-Werror", "-c", str(source), "-o", str(target)], "compiling x.c")
    header = subprocess.run(
        ["arm-none-eabi-readelf", "-hA", str(target)], capture_output=True, text=True, check=True
    ).stdout
    assert "Version5 EABI" in header and "Tag_ABI_enum_size: small" in header
    assert "Tag_CPU_arch: v7E-M" in header


@needs_hosted
def test_firmware_runs_and_says_what_built_it() -> None:
    (result,) = bench(
        ROOT / "examples" / "models" / "dense_float32.tflite", "stm32l4r5zi", options=BuildOptions(cc=HOSTED)
    )
    assert result.outputs is not None and result.outputs.match
    assert result.firmware.compiler is not None and result.firmware.compiler.startswith("arm-linux-gnueabihf-gcc")
