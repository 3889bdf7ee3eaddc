"""Calls, inputs and readings as users write them; the procedure call standard against the compiler's own calls."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.conftest import Bench
from tinysim.attributes import check_core, read_attributes
from tinysim.calls import parse_call, parse_input, parse_reading, parse_stubs, pass_arguments
from tinysim.engine.unicorn_machine import Machine
from tinysim.errors import ImageError, InputError
from tinysim.image import Image, load_image
from tinysim.measure import measure
from tinysim.part import load_part

pytest_plugins = ["tests.engine.conftest"]
SOURCE = """
int32_t buffer[8];
float result; uint8_t small[3];
__attribute__((noinline)) int main(void) { for (;;) small[0] = 1; }
void program(void) { CPACR = 0xF << 20; isb(); for (int k = 0; k < 8; ++k) buffer[k] = k + 1; main(); }
__attribute__((noinline)) int32_t weigh(int32_t *v, uint32_t n, int32_t a, int32_t b, int32_t c, int32_t d, float x, float *to) {
  int32_t s = 0;
  for (uint32_t k = 0; k < n; ++k) s += v[k];
  *to = x * 2.0f;
  return s + 10 * a + 100 * b + 1000 * c + 10000 * d;
}
"""


@pytest.fixture(scope="module")
def image(bench: Bench) -> Image:
    return load_image(bench.build(SOURCE + "void *keep[] = {(void *)weigh};"))


def test_arguments_are_integers_floats_and_addresses(image: Image) -> None:
    call = parse_call(" weigh( buffer, 0x8, -1, &small, 2.5, 1e3f) ", image)
    assert call.function.name == "weigh"
    assert call.arguments == (image.symbol("buffer").address, 8, -1, image.symbol("small").address, 2.5, 1000.0)
    assert parse_call("weigh()", image).arguments == ()


@pytest.mark.parametrize(("text", "error", "message"), [
    ("weigh", InputError, "not a call"), ("weigh(1,,2)", InputError, "not an argument"), ("weigh('a')", InputError, "not an argument"),
    ("weigh(4294967296)", InputError, "32-bit"), ("wiegh(1)", ImageError, "no symbol"), ("weigh(nothing)", ImageError, "no symbol"),
])  # fmt: skip
def test_wrong_calls_are_refused(image: Image, text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        parse_call(text, image)


@given(st.lists(st.one_of(st.integers(-(2**31), 2**32 - 1), st.floats(width=32, allow_nan=False)), max_size=30), st.booleans())
def test_every_argument_has_one_place_in_order(arguments: list[int | float], hard: bool) -> None:
    passed = pass_arguments(arguments, hard_float=hard)
    words = [struct.unpack("<I", struct.pack("<f", a))[0] if isinstance(a, float) else a & 0xFFFFFFFF for a in arguments]
    floats = [w for w, a in zip(words, arguments, strict=True) if isinstance(a, float)]
    integers = [w for w, a in zip(words, arguments, strict=True) if not isinstance(a, float)] if hard else words
    core = [passed.registers[f"r{n}"] for n in range(4) if f"r{n}" in passed.registers]
    fpu = [passed.registers[f"s{n}"] for n in range(16) if f"s{n}" in passed.registers]
    assert core == integers[:4] and fpu == (floats[:16] if hard else [])
    assert len(passed.stack) == len(words) - len(core) - len(fpu)


def test_a_call_runs_as_the_compiler_would_make_it(bench: Bench, image: Image) -> None:
    result, measured = measure(
        image.path, "stm32l4r5zi", call="weigh(buffer, 8, 1, 2, 3, 4, 2.25, &result)", reads=["result:f32", "buffer:i32[8]", "small:u8[3]"]
    )
    assert measured.observed.returned == 36 + 10 + 200 + 3000 + 40000
    assert measured.observed.values == {"result:f32": 4.5, "buffer:i32[8]": list(range(1, 9)), "small:u8[3]": [0, 0, 0]}
    assert not any("not left" in warning for warning in result.warnings)
    assert result.regions[0].name == "weigh" and result.regions[0].calls == 1 and result.cycles > 8


def test_inputs_are_written_after_start_up(bench: Bench, image: Image, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.arange(8, dtype="<i4") * 10)
    _, measured = measure(
        image.path, "stm32l4r5zi", inputs=[f"buffer={tmp_path / 'v.npy'}"], call="weigh(buffer, 8, 0, 0, 0, 0, 1.0, &result)"
    )
    assert measured.observed.returned == 280
    (tmp_path / "long.bin").write_bytes(bytes(33))
    for text, message in (
        (f"buffer={tmp_path / 'long.bin'}", "33 bytes, buffer only 32"), ("buffer=", "not understood"), ("buffer=/nowhere/x", "cannot read"),
    ):
        with pytest.raises(InputError, match=message):
            parse_input(text, image)


def test_readings_and_stubs(image: Image) -> None:
    reading = parse_reading("buffer:u16[4]", image)
    assert reading.size == 8 and reading.values(bytes([1, 0, 2, 0, 3, 0, 4, 1])) == [1, 2, 3, 0x104]
    assert parse_reading("result:f32", image).values(struct.pack("<f", -1.5)) == -1.5
    for text, message in (("buffer:i32[9]", "36 bytes, buffer only 32"), ("buffer:i3", "no type"), ("buffer", "not understood"),
                          ("buffer:u8[0]", "cannot read 0")):
        with pytest.raises(InputError, match=message):
            parse_reading(text, image)
    assert parse_stubs(["0x40023800=0x2", "4=5"]) == {0x40023800: 2, 4: 5}
    for text in ("1=2", "0x40023800", "a=b", "0x40023800=-1"):
        with pytest.raises(InputError):
            parse_stubs([text])


def test_another_cores_program_is_refused(bench: Bench, tmp_path: Path) -> None:
    part = load_part("stm32l4r5zi")
    own = check_core(bench.build("void program(void) {}"), part)
    assert own.hard_float and own.profile == "M" and own.architecture_name == "Armv7E-M"
    soft = bench.build("void program(void) {}", "-mfloat-abi=soft", "-O1")
    assert read_attributes(soft).hard_float is False
    for flags, name in ((("-mcpu=cortex-m33", "-O1"), "Armv8-M Mainline"), (("-mcpu=cortex-a9", "-mfpu=neon", "-O1"), "Armv7")):
        with pytest.raises(ImageError, match=rf"was built for {name}.*Armv7E-M"):
            check_core(bench.build("void program(void) {}", *flags), part)


def test_heap_in_use_is_what_sbrk_gave(bench: Bench) -> None:
    ran = bench.run(
        """
        static uint8_t heap[512]; static uint32_t used;
        __attribute__((noinline, used)) void *_sbrk(int n) { void *at = heap + used; used += n; return at; }
        void *volatile p; void program(void) { p = _sbrk(100); p = _sbrk(60); p = _sbrk(-40); }
        """
    )
    assert isinstance(ran.machine, Machine) and ran.machine.heap.high_water_bytes() == 160
