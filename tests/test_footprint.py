"""Flash and RAM: what arm-none-eabi-size says of the same file, and which part has room."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from elf_builder import Section, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from program_builder import FOLDER, PLAIN_M4, build, run

from tinysim.errors import CapacityError
from tinysim.footprint import check_capacity, footprint
from tinysim.image import load_image, parse_image
from tinysim.part import Part, load_part, part_names
from tinysim.result import MemoryUse, Result

ALLOWED = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
RESERVES = (".stack", ".heap")


@pytest.fixture(scope="module")
def plain() -> Part:
    """64 KiB of flash, 16 KiB of RAM."""
    return load_part(PLAIN_M4)


def sizes(path: Path) -> dict[str, int]:
    """Bytes of each section as ``size -A`` prints them."""
    rows = (line.split() for line in run("arm-none-eabi-size", "-A", path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 3 and row[1].isdigit()}


def berkeley(path: Path) -> tuple[int, int, int]:
    """text, data and bss as ``size`` prints them."""
    text, data, bss = run("arm-none-eabi-size", path).splitlines()[1].split()[:3]
    return int(text), int(data), int(bss)


def assert_consistent(use: MemoryUse) -> None:
    """What holds for every footprint."""
    assert use.flash_bytes == sum(s.bytes for s in use.sections if s.in_flash)
    assert use.ram_bytes == sum(s.bytes for s in use.sections if s.in_ram) + (use.stack_peak_bytes or 0)
    purposes = use.code_bytes + use.constants_bytes + use.data_bytes + (use.arena_bytes or 0)
    weights = sum(s.bytes for s in use.sections if s.purpose == "weights")
    reserves = sum(s.bytes for s in use.sections if s.purpose == "reserve")
    assert purposes + weights + reserves == sum(s.bytes for s in use.sections)


def test_firmware_of_a_model_has_the_sizes_that_size_prints(cnn_results: tuple[Result, ...]) -> None:
    for result in cnn_results:
        path, use = Path(result.firmware.path), result.memory
        printed = sizes(path)
        assert {s.name: s.bytes for s in use.sections} == {
            name: printed[name] for name in (s.name for s in use.sections)
        }
        text, data, bss = berkeley(path)
        assert use.flash_bytes == text + data
        assert use.ram_bytes - (use.stack_peak_bytes or 0) == data + bss - printed[".stack"]
        assert use.arena_bytes == printed[".arena"]
        assert 0 < (use.arena_used_bytes or 0) <= printed[".arena"]
        assert 0 < (use.stack_peak_bytes or 0) <= printed[".stack"]
        assert_consistent(use)


def test_weights_lie_in_flash_as_large_as_the_model(one_result: Result, models: Path) -> None:
    [section] = [s for s in one_result.memory.sections if s.purpose == "weights"]
    content = (models / "cnn_int8.tflite").read_bytes()
    assert section.bytes == len(content) + -len(content) % 4
    assert section.in_flash
    assert not section.in_ram
    image = load_image(one_result.firmware.path)
    assert image.read(section.address, len(content)) == content
    assert 0 < one_result.memory.weights_bytes < len(content)


def test_initialised_data_takes_flash_and_ram(plain: Part, tmp_path: Path) -> None:
    elf = build(tmp_path / "shapes.elf", FOLDER / "shapes.cc", flags=("-O1", "-fno-exceptions", "-fno-rtti"))
    use = footprint(load_image(elf), plain, stack_peak_bytes=100)
    text, data, bss = berkeley(elf)
    assert data == 4
    assert (use.flash_bytes, use.ram_bytes) == (text + data, data + bss + 100)
    assert [(m.memory, m.used_bytes, m.size_bytes) for m in use.memories] == [
        ("flash", text + data, 0x10000),
        ("ram", data + bss, 0x4000),
    ]
    assert_consistent(use)


KINDS = (".text", ".rodata", ".weights", ".data", ".bss", ".arena", ".stack", ".heap", ".debug_line")


@ALLOWED
@given(
    st.lists(
        st.tuples(st.sampled_from(KINDS), st.integers(1, 500).map(lambda words: 4 * words)), min_size=1, max_size=8
    ),
    st.integers(0, 4096),
)
def test_any_program_has_the_sizes_that_size_prints(
    plain: Part, tmp_path: Path, wanted: list[tuple[str, int]], stack_peak: int
) -> None:
    flash, ram, sections = 0x08000000, 0x20000000, []
    for number, (kind, size) in enumerate([*wanted, (".text", 4)]):
        name = f"{kind}.{number}"
        if kind in (".text", ".rodata", ".weights"):
            sections.append(Section(name, flash, size, executable=kind == ".text"))
            flash += size
        elif kind == ".data":
            sections.append(Section(name, ram, size, writable=True, load_address=flash))
            flash, ram = flash + size, ram + size
        elif kind == ".debug_line":
            sections.append(Section(name, 0, size, allocated=False))
        else:
            sections.append(Section(name, ram, size, writable=True, stored=False))
            ram += size
    path = tmp_path / "made.elf"
    path.write_bytes(write(sections))
    use = footprint(parse_image(path.read_bytes(), path), plain, stack_peak_bytes=stack_peak)
    text, data, bss = berkeley(path)
    reserved = sum(size for name, size in sizes(path).items() if name.startswith(RESERVES))
    assert use.flash_bytes == text + data
    assert use.ram_bytes == data + bss - reserved + stack_peak
    printed = sizes(path)
    assert all(printed[s.name] == s.bytes for s in use.sections)
    assert_consistent(use)


def test_a_section_outside_of_the_part_is_shown_as_such(plain: Part, tmp_path: Path) -> None:
    path = tmp_path / "made.elf"
    path.write_bytes(write([Section(".text", 0x08000000, 8, executable=True), Section(".extra", 0x90000000, 12)]))
    use = footprint(load_image(path), plain, stack_peak_bytes=None)
    assert [(s.memory, s.in_flash, s.in_ram) for s in use.sections] == [("flash", True, False), ("?", False, False)]
    assert (use.flash_bytes, use.ram_bytes, use.stack_peak_bytes) == (8, 0, None)


def test_a_section_over_two_memories_that_touch_takes_from_both(plain: Part, tmp_path: Path) -> None:
    ram = plain.region("ram")
    two = dataclasses.replace(
        plain, regions=(*plain.regions, dataclasses.replace(ram, name="next", base=ram.end, size=0x1000))
    )
    path = tmp_path / "made.elf"
    path.write_bytes(
        write(
            [
                Section(".text", 0x08000000, 8, executable=True),
                Section(".bss", ram.end - 100, 300, writable=True, stored=False),
            ]
        )
    )
    use = footprint(load_image(path), two, stack_peak_bytes=0)
    assert {m.memory: m.used_bytes for m in use.memories} == {"flash": 8, "ram": 100, "next": 200}
    assert use.ram_bytes == 300


# -- room --------

FLASH, RAM = 0x10000, 0x4000


def test_what_just_fits_is_accepted(plain: Part) -> None:
    check_capacity(plain, {"code": FLASH, "data": RAM - 100, "arena": 100}, "it")


@settings(ALLOWED, max_examples=15)
@given(code=st.integers(0, 3 * FLASH), data=st.integers(0, 2 * RAM), arena=st.integers(0, 2 * RAM))
def test_missing_bytes_are_those_above_what_the_part_has(plain: Part, code: int, data: int, arena: int) -> None:
    needed = {"code": code, "data": data, "arena": arena}
    fits = code <= FLASH and data + arena <= RAM
    try:
        check_capacity(plain, needed, "it")
    except CapacityError as error:
        assert not fits
        expected = [f"{code - FLASH:,} bytes of flash"] * (code > FLASH) + [f"{data + arena - RAM:,} bytes of ram"] * (
            data + arena > RAM
        )
        assert re.findall(r"([\d,]+ bytes of \w+) \(needs", error.message) == expected
        assert "\n" not in str(error)
        assert not error.details
    else:
        assert fits


def test_parts_with_room_are_named_and_do_have_it(plain: Part) -> None:
    needed = {"code": 600 * 1024, "data": 8192, "arena": 100 * 1024}
    with pytest.raises(CapacityError) as caught:
        check_capacity(plain, needed, "it")
    named = set(caught.value.hint.removeprefix("parts with room: ").split(", "))
    assert named
    for name in part_names():
        if name in named:
            check_capacity(load_part(name), needed, "it")
        else:
            with pytest.raises(CapacityError):
                check_capacity(load_part(name), needed, "it")


def test_what_no_part_holds_is_said(plain: Part) -> None:
    with pytest.raises(CapacityError, match="missing") as caught:
        check_capacity(plain, {"code": 1 << 30, "data": 0, "arena": 0}, "it")
    assert "no part of the catalogue" in caught.value.hint


def test_memories_that_do_not_touch_are_not_added_up(plain: Part) -> None:
    ram = plain.region("ram")
    far = dataclasses.replace(ram, name="far", base=ram.base + 0x100000)
    two = dataclasses.replace(
        plain,
        regions=(*plain.regions, far),
        placement={**plain.placement, "data": ("ram", "far"), "arena": ("ram", "far"), "stack": ("ram", "far")},
    )
    check_capacity(two, {"code": 0, "data": RAM, "arena": RAM}, "it")
    with pytest.raises(CapacityError):
        check_capacity(two, {"code": 0, "data": 0, "arena": RAM + 1}, "it")
