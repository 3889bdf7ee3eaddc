"""What answers on the bus: UARTs, ready bits, random numbers, stubs, system registers; and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.conftest import Bench
from tinysim.engine.bus import Bus, Storage, Unanswered
from tinysim.engine.peripherals import ModelledDevice, load_catalogue, read_catalogue
from tinysim.engine.unicorn_machine import Ending
from tinysim.errors import EngineError, FaultError, InputError, PartError
from tinysim.part import load_part, part_names


def make_bus() -> tuple[Bus, list[Unanswered], list[tuple[int, int]]]:
    refused: list[Unanswered] = []
    written: list[tuple[int, int]] = []
    return Bus(refused.append, lambda address, value: written.append((address, value))), refused, written


def test_the_bus_reads_and_writes_parts_of_words() -> None:
    bus, _, written = make_bus()
    bus.add(Storage("block", 0x40000000, 0x100))
    assert bus.write(0x40000004, 4, 0x11223344) and bus.write(0x40000006, 1, 0xAA) and bus.write(0x40000004, 2, 0xBBCC)
    assert (
        bus.read(0x40000004, 4) == 0x11AABBCC and bus.read(0x40000007, 1) == 0x11 and bus.read(0x40000006, 2) == 0x11AA
    )
    assert bus.read(0x40000100, 4) is None and not bus.write(0x3FFFFFFF, 1, 0)
    assert [address for address, _ in written] == [0x40000004, 0x40000006, 0x40000004]


def test_a_later_device_answers_in_front_of_an_earlier_one() -> None:
    bus, _, _ = make_bus()
    bus.add(Storage("block", 0x40000000, 0x100))
    bus.add(Storage("one", 0x40000010, 4, fixed=7))
    bus.write(0x40000010, 4, 9)
    assert [bus.read(0x40000000 + k, 4) for k in (0xC, 0x10, 0x14)] == [0, 7, 0]
    assert bus.pages([]) == [(0x40000000, 0x1000)]
    with pytest.raises(EngineError, match="share the page"):
        bus.pages([(0x40000800, 0x100)])


class Around:
    """A machine's side of a peripheral."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, bool]] = []
        self.text = b""
        self.due: list[object] = []

    def interrupt(self, number: int, asserted: bool) -> None:
        self.lines.append((number, asserted))

    def after(self, cycles: int, action: object) -> None:
        self.due.append(action)

    def fetch(self, address: int, size: int) -> bytes:
        return bytes(range(size))

    def print(self, name: str, data: bytes) -> None:
        self.text += data

    def claim(self) -> bytes:
        return b""


UARTS = [model for model in load_catalogue().models.values() if model.transmit]


@pytest.mark.parametrize("model", UARTS, ids=lambda model: model.name)
def test_every_uart_sends_and_receives_by_its_own_registers(model: object) -> None:
    around = Around()
    uart = ModelledDevice("uart", 0, model, around, (5,), b"hi")  # type: ignore[arg-type]
    registers = uart.model.registers
    uart.write(registers[uart.model.transmit].offset, 0x41, 0xFFFFFFFF)
    assert around.text == b"A"
    if uart.model.listens:
        uart.write(registers[uart.model.listens.register].offset, 1 << uart.model.listens.bit, 0xFFFFFFFF)
    else:
        uart.update()
    for byte in b"hi":
        received = [(bit, says) for bit, says in uart.model.bits if says in ("received", "empty")]
        status = [
            bool(uart.read(registers[bit.register].offset) >> bit.bit & 1) == (says == "received")
            for bit, says in received
        ]
        assert status and not any(status)
        around.due.pop()()  # type: ignore[operator]
        assert all(bool(uart.read(registers[b.register].offset) >> b.bit & 1) == (s == "received") for b, s in received)
        for enable, state in uart.model.interrupts:
            if state == "received":
                before = uart.read(registers[enable.register].offset)
                uart.write(registers[enable.register].offset, before | 1 << enable.bit, 0xFFFFFFFF)
                assert around.lines[-1] == (5, True)
                uart.write(registers[enable.register].offset, before, 0xFFFFFFFF)
                assert around.lines[-1] == (5, False)
        assert uart.read(registers[uart.model.receive].offset) == byte
    assert not around.due and uart.read(0xFFC) is None and not uart.write(0xFFC, 1, 0xFF)


def test_every_part_names_models_that_exist() -> None:
    models = load_catalogue().models
    for name in part_names():
        part = load_part(name)
        assert set(part.models.values()) <= set(models), name
        assert load_catalogue().identity(part).cpuid >> 4 & 0xFFF == {"cortex-m4": 0xC24, "cortex-m7": 0xC27}[part.core]


def test_a_wrong_file_of_models_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "peripherals.toml"
    head = 'schema = "tinysim.peripherals/1"\n[core.x]\ncpuid = 1\nmpu_regions = 8\nsource = "s"\nconfidence = "inferred"\n[[model]]\n'
    body = 'name = "m"\nbytes = 16\nsource = "s"\nconfidence = "inferred"\n'
    file.write_text(head + body + '[model.registers]\nA = { offset = 0 }\n[model.bits]\n"B.1" = "ready"\n')
    with pytest.raises(PartError, match=r"'B\.1' names no bit"):
        read_catalogue(file)
    file.write_text(head + body + 'transmit = "T"\n')
    with pytest.raises(PartError, match="no register 'T'"):
        read_catalogue(file)


# ---- on the machine ----


def test_uart_input_comes_by_interrupt_at_the_pace_of_the_line(bench: Bench) -> None:
    ran = bench.run(
        """
        volatile uint32_t got[8], n;
        void irq2(void) { got[n++] = R(0x40013824); }
        void program(void) {
          R(0xE000E104) = 1 << 5;
          R(0x40013800) = 0x2D;
          while (n < 5) __asm volatile("wfi");
          R(0x40013828) = 'o'; R(0x40013828) = 'k';
        }
        """,
        uart_input={"usart1": b"12345"},
        clock_hz=1_152_000,
    )
    assert bytes(ran.word("got", k) for k in range(5)) == b"12345"
    assert bytes(ran.machine.output["usart1"]) == b"ok"
    assert ran.estimate.region(None, 1).breakdown["waiting for an interrupt"] == pytest.approx(500, abs=250)


def test_a_uart_the_part_does_not_have_is_refused(bench: Bench) -> None:
    with pytest.raises(InputError, match="has no UART 'usart9'"):
        bench.run("void program(void) {}", uart_input={"usart9": b"1"})


@pytest.mark.parametrize(("part", "control", "on", "ready"), [
    ("stm32l4r5zi", 0x40021000, 24, 25), ("stm32f746ng", 0x40023800, 24, 25), ("stm32h743zi", 0x58024400, 24, 25),
])  # fmt: skip
def test_clocks_are_ready_when_they_are_on(bench: Bench, part: str, control: int, on: int, ready: int) -> None:
    ran = bench.run(
        f"volatile uint32_t before, after; void program(void) {{ before = R({control:#x}) >> {ready} & 1; R({control:#x}) |= 1u << {on};"
        f" while (!(R({control:#x}) >> {ready} & 1)) ; after = 1; }}",
        part=part,
    )
    assert (ran.word("before"), ran.word("after")) == (0, 1)


def test_register_writes_that_set_up_memory_are_seen_in_order(bench: Bench) -> None:
    ran = bench.run(
        "void program(void) { R(0x40022000) = 0x605; *(volatile uint8_t *)0x40022001 = 7; R(0x40021000) |= 1; R(0xE000ED9C) = 0x20000010; }"
    )
    assert ran.run.register_writes == ((0x40022000, 0x605), (0x40022000, 0x705), (0xE000ED9C, 0x20000010))


def test_an_undescribed_register_is_refused_with_all_that_helps(bench: Bench) -> None:
    source = "__attribute__((noinline)) void poke(void) { R(0x40000010) = 5; } void program(void) { poke(); }"
    with pytest.raises(FaultError) as caught:
        bench.run(source)
    assert all(word in caught.value.message for word in ("write of 0x5", "0x40000010", "TIM2", "in poke", ".c:"))
    assert "--stub 0x40000010=" in caught.value.hint
    ran = bench.run("volatile uint32_t x; void program(void) { x = R(0x40000010); }", stubs={0x40000010: 0x12345678})
    assert ran.word("x") == 0x12345678
    with pytest.raises(FaultError, match=r"read at 0x5000_?0000|read at 0x50000000"):
        bench.run("volatile uint32_t x; void program(void) { x = R(0x50000000); }")


def test_semihosting_prints_reads_and_ends(bench: Bench) -> None:
    ran = bench.run(
        """
        static uint32_t ask(uint32_t what, const void *with) {
          register uint32_t r0 __asm("r0") = what; register const void *r1 __asm("r1") = with;
          __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
          return r0;
        }
        volatile uint32_t handle, left; uint8_t buffer[8];
        void program(void) {
          uint32_t open[3] = {(uint32_t)":tt", 4, 3};
          handle = ask(1, open);
          uint32_t write[3] = {handle, (uint32_t)"raw\\n", 4};
          ask(5, write);
          ask(4, "text");
          ask(3, "!");
          uint32_t read[3] = {1, (uint32_t)buffer, 8};
          left = ask(6, read);
          uint32_t leave[2] = {0x20026, 3};
          ask(0x20, leave);
        }
        """,
        uart_input={"": b"abc"},
    )
    assert ran.ending is Ending.EXIT and ran.machine.exit_code == 3
    assert bytes(ran.machine.output["semihosting"]) == b"raw\ntext!"
    assert ran.word("left") == 5 and ran.machine.read(ran.machine.image.symbol("buffer").address, 3) == b"abc"


def test_itm_port_zero_is_text(bench: Bench) -> None:
    ran = bench.run(
        "void program(void) { while (!(R(0xE0000000) & 1)) ; *(volatile uint8_t *)0xE0000000 = 'x'; R(0xE0000004) = 1; }"
    )
    assert bytes(ran.machine.output["itm"]) == b"x"


def test_caches_of_an_m7_can_be_enabled_as_cmsis_does(bench: Bench) -> None:
    ran = bench.run(
        """
        volatile uint32_t sets, ways, on;
        void program(void) {
          R(0xE000EF50) = 0; R(0xE000ED14) |= 1 << 17; isb();
          R(0xE000ED84) = 0; isb();
          uint32_t id = R(0xE000ED80), s = id >> 13 & 0x7FFF; sets = s + 1; ways = (id >> 3 & 0x3FF) + 1;
          do { uint32_t w = id >> 3 & 0x3FF; do { R(0xE000EF60) = s << 5 | w << 30; } while (w-- != 0); } while (s-- !=
          0); R(0xE000ED14) |= 1 << 16; isb();
          on = R(0xE000ED14);
        }
        """,
        part="stm32h743zi",
    )
    assert (ran.word("sets"), ran.word("ways")) == (128, 4)
    assert ran.word("on") & 3 << 16 == 3 << 16 and [a for a, _ in ran.run.register_writes] == [0xE000ED14, 0xE000ED14]
