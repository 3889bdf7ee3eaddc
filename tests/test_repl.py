"""The parser of Renode's platform descriptions."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinysim.errors import PartError
from tinysim.repl import Interrupt, Reference, Registration, Tag, parse_repl, read_repl

RECORDED = Path(__file__).resolve().parents[2] / "shared" / "renode"

EVERYTHING = """\
using "base.repl"
// a comment
/* and
   another */
timer0 : Timers.Some_Timer @ sysbus 0x40014000
    -> nvic@0x3
ram: Memory.MappedMemory @ { sysbus 0x800000; sysbus <0x20000000, +0x40_000> }
    size: 0x40000
mac: Network.Mac @ {
    sysbus 0x40028000;
    sysbus new Bus.BusMultiRegistration { address: 0x40028C00; size: 0x200; region: "mtl" }
    }
    pins: [[0, 1], [3]]
    offset: -3
    name: "a // b \\"c\\""
    on: true
    ratio: 2.5
    cpu: cpu
    mode: Modes.Fast
    nothing: none
    [0-2, 7] -> nvic@[6-8, 23]
    [TxIRQ, RxIRQ] -> nvic@[1, 2]
    0 -> gpio#07@01 | gpio@2
uart: UART.X @ sysbus <0x1000, 0x11ff> { frequency: 1_000; IRQ->nvic@3 }
mux: Misc.C @ none
sysbus:
    init:
        ApplySVD @https://example.org/x.svd
        Tag <0x100000a0, 0x100000a3> "DEV ICE" 0x1 # random
        Tag <0x40000000, +0x400> "TIM2"
        SilenceRange <0x0 0xf>
"""


def test_every_construct() -> None:
    platform = parse_repl(EVERYTHING, "x.repl")
    assert [entry.name for entry in platform.entries] == ["timer0", "ram", "mac", "uart", "mux"]
    timer, ram, mac, uart, mux = platform.entries
    assert timer.interrupts == (Interrupt("", "nvic", 3, 6),)
    assert ram.registrations == (
        Registration("sysbus", 0x800000, None, 7),
        Registration("sysbus", 0x20000000, 0x40000, 7),
    )
    assert ram.properties == {"size": 0x40000}
    assert mac.registrations[1] == Registration("sysbus", 0x40028C00, 0x200, 9)
    assert mac.properties == {
        "pins": ((0, 1), (3,)),
        "offset": -3,
        "name": 'a // b "c"',
        "on": True,
        "ratio": 2.5,
        "cpu": Reference("cpu"),
        "mode": Reference("Modes.Fast"),
        "nothing": None,
    }
    assert mac.property_lines["offset"] == 14
    assert [(wire.source, wire.target, wire.input, wire.port) for wire in mac.interrupts] == [
        ("0", "nvic", 6, None),
        ("1", "nvic", 7, None),
        ("2", "nvic", 8, None),
        ("7", "nvic", 23, None),
        ("TxIRQ", "nvic", 1, None),
        ("RxIRQ", "nvic", 2, None),
        ("0", "gpio", 1, 7),
        ("0", "gpio", 2, None),
    ]
    assert uart.registrations[0].size == 0x200
    assert uart.properties == {"frequency": 1000} and uart.interrupts[0].source == "IRQ"
    assert mux.registrations == (Registration("none", None, None, 25),)
    assert platform.tags == (
        Tag(0x100000A0, 4, "DEV ICE", 1, 29),
        Tag(0x40000000, 0x400, "TIM2", None, 30),
        Tag(0, 16, "", None, 31, silent=True),
    )
    assert [(command.entry, command.text) for command in platform.commands] == [
        ("sysbus", "ApplySVD @https://example.org/x.svd")
    ]
    assert [(include.path, include.line) for include in platform.includes] == [("base.repl", 1)]


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("flash Memory.MappedMemory @ sysbus 0x0", 1, "cannot read"),
        ("a: M @ sysbus 0x0\n   size: 4", 2, "indented by 3"),
        ("a: M @ sysbus 0x0\n\tsize: 4", 2, "tab"),
        ("    size: 4", 1, "belongs to no entry"),
        ("a: M @ sysbus 0x0\n    size: 4\n    size: 5", 3, "twice"),
        ("a: M @ sysbus 0x0\n\na: M @ sysbus 0x4", 3, "twice"),
        ("a: M @ sysbus zero", 1, "not a number"),
        ("a: M @ sysbus <0x10, 0x4>", 1, "empty"),
        ("a: M @ sysbus 0x0\n    size: ", 2, "cannot read"),
        ("a: M @ sysbus 0x0\n    size: [1, 2", 2, "list"),
        ("a: M @ sysbus 0x0\n    size: 4 5", 2, "after the value"),
        ("a: M @ sysbus 0x0\n    [0-3] -> nvic@[1-2]", 2, "4 outputs"),
        ("a: M @ sysbus 0x0\n    IRQ -> nvic", 2, "cannot read"),
        ("a: M @ { sysbus 0x0;", 1, "never closed"),
        ("/* a: M", 1, "never closed"),
        ("a: M @ sysbus 0x0\n    init:\n        Tag <0x0, 0x3> \"X\"", 3, "only sysbus"),
        ("sysbus:\n    init:\n        Tag <0x0, 0x3>", 3, "cannot read"),
        ("using base.repl", 1, "using"),
        ("a: M @ sysbus 0x0\n    b: '''x'''", 2, "cannot read"),
    ],
)
def test_refuses_with_a_line(text: str, line: int, word: str) -> None:
    with pytest.raises(PartError) as caught:
        parse_repl(text, "x.repl")
    assert caught.value.message.startswith(f"x.repl:{line}: ")
    assert word in str(caught.value)


def test_entries_that_add(tmp_path: Path) -> None:
    (tmp_path / "base.repl").write_text(
        'ram: Memory.MappedMemory @ sysbus 0x20000000\n    size: 0x1000\nnvic: N @ sysbus 0x1\n    IRQ -> cpu@0\n'
    )
    top = tmp_path / "top.repl"
    top.write_text('using "base.repl"\nram:\n    size: 0x2000\nnvic:\n    1 -> cpu@1\n')
    platform = read_repl(top)
    ram, nvic = platform.entries
    assert (ram.type, ram.properties, ram.registrations[0].address) == (
        "Memory.MappedMemory",
        {"size": 0x2000},
        0x20000000,
    )
    assert [wire.input for wire in nvic.interrupts] == [0, 1]


def test_bad_includes(tmp_path: Path) -> None:
    loop = tmp_path / "loop.repl"
    loop.write_text('using "loop.repl"\n')
    with pytest.raises(PartError, match="includes itself"):
        read_repl(loop)
    loop.write_text('\nusing "gone.repl"\n')
    with pytest.raises(PartError, match=r"loop.repl:2: there is no file 'gone.repl'"):
        read_repl(loop)
    loop.write_text("ram:\n    size: 0x10\n")
    with pytest.raises(PartError, match="adds to nothing"):
        read_repl(loop)
    with pytest.raises(PartError, match="cannot read"):
        read_repl(tmp_path / "none.repl")


def test_recorded_platforms() -> None:
    """What a real Renode loaded parses; what it refused as bad syntax is refused here too."""
    if not RECORDED.is_dir():
        pytest.skip("the recorded Renode files are not beside this checkout")
    platform = read_repl(RECORDED / "platform.repl")
    assert [entry.name for entry in platform.entries] == ["flash", "sram", "nvic", "cpu", "dwt", "uart"]
    with pytest.raises(PartError, match=r"bad_syntax.repl:1: "):
        read_repl(RECORDED / "bad_syntax.repl")


@given(st.text(alphabet=' \n\t:@{}[]<>+->#|,;"/*abcIRQ019x_.', max_size=200))
def test_any_text_parses_or_is_refused(text: str) -> None:
    """Hostile text ends in a PartError with a line, never in another exception."""
    try:
        parse_repl(text, "x.repl")
    except PartError as error:
        assert error.message.startswith("x.repl:")


names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)


@given(
    st.dictionaries(
        names, st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 2**24)), max_size=6
    )
)
def test_written_platforms_read_back(memories: dict[str, tuple[int, int]]) -> None:
    memories.pop("using", None)
    memories.pop("sysbus", None)
    text = "\n".join(
        f"{name}: Memory.MappedMemory @ sysbus {base:#x}\n    size: {size:#x}"
        for name, (base, size) in memories.items()
    )
    platform = parse_repl(text)
    assert {
        entry.name: (entry.registrations[0].address, entry.properties["size"]) for entry in platform.entries
    } == memories
