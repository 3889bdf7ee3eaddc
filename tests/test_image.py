"""ELF files: what binutils says of the same file, and what is said of a wrong one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from elf_builder import Section, Symbol, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from program_builder import FOLDER, START, build, run

from tinysim.errors import ImageError, InputError
from tinysim.image import Image, load_image, parse_image
from tinysim.image import Section as ImageSection
from tinysim.result import Result

ALLOWED = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program with names of every kind."""
    target = tmp_path_factory.mktemp("image") / "shapes.elf"
    return build(target, FOLDER / "shapes.cc", flags=("-O1", "-fno-exceptions", "-fno-rtti", "-fno-inline"))


@pytest.fixture(scope="module")
def image(elf: Path) -> Image:
    return load_image(elf)


@pytest.fixture(scope="session")
def firmware(one_result: Result) -> Image:
    """The firmware of a model: thousands of symbols, most of them C++."""
    return load_image(one_result.firmware.path)


# -- against binutils --------


def readelf_sections(path: Path) -> list[ImageSection]:
    """The allocated sections as readelf shows them, load addresses as objdump does."""
    loads = {
        fields[1]: int(fields[4], 16)
        for line in run("arm-none-eabi-objdump", "-h", "-w", path).splitlines()
        if len(fields := line.split()) > 6 and fields[0].isdigit()
    }
    pattern = re.compile(
        r"\[ *\d+\] (\S+) +(\S+) +([0-9a-f]{8}) ([0-9a-f]{6,}) ([0-9a-f]{6,}) [0-9a-f]{2} +([A-Za-z]*) +\d+ +\d+ +\d+"
    )
    found = []
    for name, kind, address, _offset, size, flags in pattern.findall(run("arm-none-eabi-readelf", "-SW", path)):
        if "A" in flags and int(size, 16):
            found.append(
                ImageSection(
                    name, int(address, 16), loads[name], int(size, 16), kind != "NOBITS", "W" in flags, "X" in flags
                )
            )
    return found


def readelf_segments(path: Path) -> list[tuple[int, int, int, int, bool]]:
    """The loaded segments: address, load address, bytes in the file, bytes in memory, executable."""
    rows = re.findall(
        r"LOAD +0x\w+ (0x\w+) (0x\w+) (0x\w+) (0x\w+) ([RWE ]{3})", run("arm-none-eabi-readelf", "-lW", path)
    )
    return [(int(v, 16), int(p, 16), int(f, 16), int(m, 16), "E" in flags) for v, p, f, m, flags in rows if int(m, 16)]


def nm_symbols(path: Path) -> set[tuple[str, int, bool]]:
    """Name, value and whether it is global, of all symbols."""
    rows = (line.rsplit(" ", 2) for line in run("arm-none-eabi-nm", "--format=bsd", path).splitlines())
    return {
        (name, int(value.split()[0], 16), kind.isupper() or kind in "vw") for value, kind, name in rows if value.strip()
    }


def assert_as_binutils_says(image: Image, path: Path) -> None:
    assert list(image.sections) == readelf_sections(path)
    assert [
        (s.address, s.load_address, len(s.data), s.memory_bytes, s.executable) for s in image.segments
    ] == readelf_segments(path)
    assert {(s.name, s.address & ~1 if s.function else s.address, s.is_global) for s in image.symbols} == {
        (name, value & ~1 if any(t.function and t.name == name for t in image.symbols) else value, bound)
        for name, value, bound in nm_symbols(path)
        if not name.startswith("$")
    }


def test_a_program_is_read_as_readelf_and_nm_read_it(image: Image, elf: Path) -> None:
    assert_as_binutils_says(image, elf)
    assert image.entry & ~1 == image.symbol("start").address


def test_firmware_of_a_model_is_read_as_readelf_and_nm_read_it(firmware: Image) -> None:
    assert len(firmware.symbols) > 300
    assert_as_binutils_says(firmware, firmware.path)


def test_functions_lie_where_nm_says(firmware: Image) -> None:
    sizes = {}
    for line in run("arm-none-eabi-nm", "--print-size", firmware.path).splitlines():
        fields = line.split()
        if len(fields) == 4 and fields[2] in "tTwW":
            sizes[int(fields[0], 16) & ~1] = int(fields[1], 16)
    assert len(sizes) > 100
    for address, size in sizes.items():
        function = firmware.function_at(address)
        assert function is not None
        assert (function.address, function.bytes) == (address, size)
        assert firmware.function_at(address | 1) == function
        holders = {(a, n) for a, n in sizes.items() if a <= address + size - 2 < a + n}
        last = firmware.function_at(address + size - 2)
        assert last is not None
        assert (last.address, last.bytes) == max(holders)  # the innermost, where assembly nests them


def test_source_lines_are_those_of_addr2line(image: Image, elf: Path) -> None:
    code = next(s for s in image.sections if s.name == ".text")
    addresses = range(code.address, code.address + code.bytes, 2)
    printed = run("arm-none-eabi-addr2line", "-e", elf, *[hex(a) for a in addresses]).splitlines()
    compared = 0
    for address, line in zip(addresses, printed, strict=True):
        name, _, number = line.split(" (discriminator")[0].rpartition(":")
        if number.isdigit() and (mine := image.line_at(address)) is not None:
            assert (Path(name).name, int(number)) == (Path(mine[0]).name, mine[1])
            compared += 1
    assert compared > 20


def test_cplusplus_names_are_those_of_cppfilt(firmware: Image) -> None:
    mangled = sorted({s.name for s in firmware.functions if s.name.startswith("_Z")})
    shown = run("arm-none-eabi-c++filt", *mangled).splitlines()
    compared = 0
    places: dict[str, set[int]] = {}
    for function in firmware.functions:
        places.setdefault(function.name, set()).add(function.address)
    for name, full in zip(mangled, shown, strict=True):
        if len(places[name]) > 1:  # a static function of several files
            with pytest.raises(ImageError, match=f"names {len(places[name])} functions"):
                firmware.symbol(name)
            continue
        symbol = firmware.symbol(name)
        assert symbol.name == name
        if "<" in full:
            continue  # the library writes some templates otherwise; they are found by their linker names
        assert symbol.shown == full
        if shown.count(full) == 1:  # constructors and destructors have one name for several symbols
            assert firmware.symbol(full).address == symbol.address
        compared += 1
    assert compared > 30


KINDS = ["code", "constants", "data", "zeros", "note"]
SIZES = st.integers(0, 80).map(lambda words: 4 * words)
NAMES = st.text("abcdefghij_", min_size=1, max_size=8)


@st.composite
def layouts(draw: st.DrawFn) -> list[Section]:
    """Sections one after another in flash and RAM; initialised data is stored in flash."""
    flash, ram, found = 0x08000000, 0x20000000, []
    for number in range(draw(st.integers(1, 6))):
        kind, size, name = draw(st.sampled_from(KINDS)), draw(SIZES), f".{draw(NAMES)}{number}"
        gap = draw(st.integers(0, 3)) * 4
        if kind in ("code", "constants"):
            found.append(Section(name, flash + gap, size, executable=kind == "code"))
            flash += gap + size
        elif kind == "data":
            found.append(Section(name, ram + gap, size, writable=True, load_address=flash))
            ram, flash = ram + gap + size, flash + size
        elif kind == "zeros":
            found.append(Section(name, ram + gap, size, writable=True, stored=False))
            ram += gap + size
        else:
            found.append(Section(name, 0, size, allocated=False))
    return [*found, Section(".last", flash + 64, 8, executable=True)]


@ALLOWED
@given(layouts())
def test_any_layout_is_read_as_readelf_reads_it(tmp_path: Path, sections: list[Section]) -> None:
    path = tmp_path / "made.elf"
    path.write_bytes(write(sections, [Symbol("f", sections[-1].address | 1, 8, section=len(sections) - 1)]))
    image = load_image(path)
    assert [s for s in image.sections if s.stored] == [s for s in readelf_sections(path) if s.stored]
    assert [(s.name, s.address, s.bytes) for s in image.sections] == [
        (s.name, s.address, s.bytes) for s in readelf_sections(path)
    ]
    assert [
        (s.address, s.load_address, len(s.data), s.memory_bytes, s.executable) for s in image.segments
    ] == readelf_segments(path)
    for number, section in enumerate(sections):
        if section.allocated and section.stored and section.size:
            assert image.read(section.address, section.size) == bytes((number + k) & 255 for k in range(section.size))
    assert image.symbol("f").address == sections[-1].address


# -- names --------


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "hidden(int)",
        "hidden",
        "shape::area(int, int)",
        "shape::area(int,int)",
        "shape::Box::area() const",
        "Box::area",
        "shape::largest<int>",
        "int shape::largest<int>(int, int)",
    ],
)
def test_a_function_is_found_by_the_names_people_use(image: Image, name: str) -> None:
    symbol = image.symbol(name)
    assert symbol.function
    assert name.split("(")[0].split()[-1] in symbol.shown
    assert image.symbol(hex(symbol.address)) == symbol
    assert image.symbol(str(symbol.address | 1)) == symbol


def test_an_overloaded_name_asks_for_more(image: Image) -> None:
    with pytest.raises(ImageError, match="names 2 functions") as caught:
        image.symbol("shape::area")
    assert "shape::area(int, int)" in caught.value.details
    assert "shape::area(int)" in caught.value.details


def test_an_unknown_name_is_answered_with_the_nearest(image: Image) -> None:
    with pytest.raises(ImageError, match="has no symbol 'plian'") as caught:
        image.symbol("plian")
    assert "plain" in caught.value.hint


def test_a_stripped_file_says_so_and_takes_addresses(elf: Path, image: Image, tmp_path: Path) -> None:
    stripped = tmp_path / "stripped.elf"
    run("arm-none-eabi-strip", "-o", stripped, elf)
    bare = load_image(stripped)
    with pytest.raises(ImageError, match="has no symbols, so 'plain' cannot be found") as caught:
        bare.symbol("plain")
    assert "0x08000400" in caught.value.hint
    address = image.symbol("plain").address
    assert bare.symbol(hex(address)).address == address
    assert [s.data for s in bare.segments] == [s.data for s in image.segments]


def test_an_address_is_shown_with_function_and_line(image: Image) -> None:
    plain = image.symbol("plain")
    text = image.where(plain.address + 4)
    assert text.startswith(f"{plain.address + 4:#010x} in plain+0x4 (")
    assert re.search(r"shapes\.cc:\d+\)$", text)
    assert image.where(0x40000000) == "0x40000000"


def test_data_and_constants_are_read_where_they_are_stored(image: Image) -> None:
    table, counter = image.symbol("table"), image.symbol("counter")
    assert image.read(table.address, 16) == b"".join(n.to_bytes(4, "little") for n in (1, 2, 3, 4))
    assert image.read(counter.address, 4) == (5).to_bytes(4, "little")
    with pytest.raises(ImageError, match="stores nothing"):
        image.read(image.symbol("zeros").address, 4)


# -- wrong files --------

CODE = [Section(".text", 0x08000000, 16, executable=True)]
WRONG = {
    "not an ELF file": b"hello",
    "64-bit": write(CODE, bits=64),
    "big-endian": write(CODE, big=True),
    "for RISCV, not for Arm": write(CODE, machine=243),
    "not a linked executable": write(CODE, kind=1),
    "nothing to load": write([]),
    "truncated": write(CODE)[:90],
}


@pytest.mark.parametrize("reason", WRONG)
def test_a_wrong_file_is_refused_with_its_reason(reason: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.elf"
    path.write_bytes(WRONG[reason])
    with pytest.raises(ImageError, match=re.escape(reason)) as caught:
        load_image(path)
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_big_endian_program_of_the_compiler_is_refused(tmp_path: Path) -> None:
    elf = build(tmp_path / "big.elf", FOLDER / "shapes.cc", flags=("-mbig-endian", "-fno-exceptions"))
    with pytest.raises(ImageError, match="big-endian"):
        load_image(elf)


def test_an_object_file_of_the_compiler_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="not a linked executable"):
        load_image(build(tmp_path / "start.o", START, flags=("-c",)))


def test_a_program_of_this_computer_is_refused() -> None:
    import sys

    with pytest.raises(ImageError, match=r"64-bit|not for Arm|not an ELF"):
        load_image(sys.executable)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*absent\.elf"):
        load_image(tmp_path / "absent.elf")
    with pytest.raises(InputError, match="cannot read"):
        load_image(tmp_path)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_a_damaged_file_is_an_image_error_or_an_image(data: st.DataObject) -> None:
    content = bytearray(
        write(
            [*CODE, Section(".data", 0x20000000, 8, writable=True, load_address=0x08000010)],
            [Symbol("f", 0x08000001, 16)],
        )
    )
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    kept = bytes(content[: data.draw(st.integers(0, len(content)))]) if data.draw(st.booleans()) else bytes(content)
    try:
        image = parse_image(kept, Path("damaged.elf"))
    except ImageError as error:
        assert "damaged.elf" in error.message
        assert error.hint
    else:
        assert all(0 <= s.address < s.address + s.memory_bytes <= 1 << 32 for s in image.segments)
        for symbol in image.symbols:
            assert symbol.shown
