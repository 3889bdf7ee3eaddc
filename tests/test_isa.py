"""The instruction set's data against the assembler, the disassembler of binutils, and what Unicorn does."""

from __future__ import annotations

import itertools
import re
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from unicorn import UC_ARCH_ARM, UC_MODE_THUMB, Uc, UcError
from unicorn import arm_const as arm

from tinysim.errors import UnpricedError
from tinysim.isa import Branch, Memory, Trait, decode, instructions, load_isa
from tinysim.operands import FLAGS_BIT, parse_operands

CODE, DATA = 0x08000000, 0x20000000
NAMES = {"mrs": ["r0", "primask"], "msr": ["primask", "r1"], "vmsr": ["fpscr", "r1"], "cpsid": ["i"], "cpsie": ["i"]}
SPELLINGS = {
    ("vmrs", 0): ["r0", "fpscr"], ("vmrs", 1): ["apsr_nzcv", "fpscr"], ("tbb", 0): ["[pc, r0]"],
    ("tbh", 0): ["[pc, r0, lsl #1]"], ("ssat16", 0): ["r0", "#5", "r2"], ("usat16", 0): ["r0", "#5", "r2"],
}  # fmt: skip
BITS = {"ubfx": ["#3", "#5"], "sbfx": ["#3", "#5"], "bfi": ["#3", "#5"], "bfc": ["#3", "#5"]}


def _operands(name: str, number: int, tokens: tuple[str, ...]) -> list[str]:
    """Operands of a form: registers by place, so that each has its own."""
    if (name, number) in SPELLINGS:
        return SPELLINGS[name, number]
    if name in NAMES:
        return NAMES[name]
    found: list[str] = []
    bits = iter(BITS.get(name, []))
    for place, token in enumerate(tokens):
        if token == "imm":
            found.append(
                next(bits, "#16" if ".s16" in name or ".u16" in name else "#0" if name.startswith("vcmp") else "#1")
            )
        elif token == "label":
            found.append("9f")
        elif token == "op2":
            found.append(f"r{place}")
        elif token == "mem":
            found.append("[r4, #8]" if not re.match(r"(ldrex|strex)[bh]", name) else "[r4]")
        elif token == "list":
            found.append("{r5, r6, r7}")
        elif token in ("slist", "dlist"):
            found.append("{s4, s5, s6}" if token == "slist" else "{d2, d3}")
        elif token == "name":
            found.append("eq" if name.startswith("it") else "sy")
        elif token.startswith("r."):
            found.append("lr" if name in ("bx", "blx") else "r4!" if "base" in token else f"r{place}")
        elif token.startswith("x."):
            found.append(f"d{place + 2}[1]")
        else:
            found.append(f"{token[0]}{place + 2}")
    if name.startswith("vcvt") and tokens[-1] == "imm":
        found[1] = found[0]  # fixed-point conversions work in place
    return found


def _forms() -> list[tuple[str, str, str]]:
    """Every mnemonic in every form: name, class, assembly."""
    listed = []
    for name, forms in load_isa().forms.items():
        for number, form in enumerate(forms):
            text = f"{name} {', '.join(_operands(name, number, form.tokens))}".strip()
            if name == "mul":
                text = "mul r0, r1, r2"
            if name.startswith("it"):
                then = "".join(f"\n mov{'eq' if letter == 't' else 'ne'} r3, r3" for letter in name[1:])
                text += then
            listed.append((name, form.class_name, text))
    return listed


FORMS = _forms()


@pytest.fixture(scope="module")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The code of each form, by its text."""
    folder = tmp_path_factory.mktemp("isa")
    source = folder / "forms.s"
    lines = [".syntax unified", ".cpu cortex-m7", ".fpu fpv5-d16", ".thumb", ".text"]
    texts = list(dict.fromkeys(text for _, _, text in FORMS))
    for number, text in enumerate(texts):
        lines += [f".global f{number}", f"f{number}:", text, "nop\n9: nop" if "9f" in text else ""]
    lines += [".global end", "end:"]
    source.write_text("\n".join(lines) + "\n")
    subprocess.run(["arm-none-eabi-as", source, "-o", folder / "forms.o"], check=True)
    subprocess.run(["arm-none-eabi-objcopy", "-O", "binary", folder / "forms.o", folder / "forms.bin"], check=True)
    table = subprocess.run(["arm-none-eabi-nm", folder / "forms.o"], check=True, capture_output=True, text=True).stdout
    places = {name: int(value, 16) for value, _, name in (line.split() for line in table.splitlines())}
    code = (folder / "forms.bin").read_bytes()
    return {
        text: code[places[f"f{number}"] : places.get(f"f{number + 1}", places["end"])]
        for number, text in enumerate(texts)
    }


def test_every_form_of_the_data_is_an_instruction_that_decodes_to_its_class(assembled: dict[str, bytes]) -> None:
    wrong = []
    for name, class_name, text in FORMS:
        found = next(iter(instructions(CODE, assembled[text])))
        if found.class_name != class_name:
            wrong.append((name, text, class_name, found.text, found.class_name))
    # one transfer needs no list, and the assembler knows no NEG but RSB
    assert wrong == []


REGISTERS = [arm.UC_ARM_REG_R0 + n for n in range(13)] + [arm.UC_ARM_REG_SP, arm.UC_ARM_REG_LR]
SINGLES = [arm.UC_ARM_REG_S0 + n for n in range(32)]


class _Machine:
    """One instruction at a time on a core with everything."""

    def __init__(self) -> None:
        self._uc = Uc(UC_ARCH_ARM, UC_MODE_THUMB)
        self._uc.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M7)
        for base in (CODE, DATA):
            self._uc.mem_map(base, 0x10000)
        self._uc.mem_map(0xE0000000, 0x100000)
        self._uc.mem_write(0xE000ED88, struct.pack("<I", 0xF << 20))

    def run(self, code: bytes, core: dict[int, int], singles: dict[int, int]) -> tuple[list[int], bytes]:
        """Registers (core, then single, then flags) and data memory after the instruction."""
        uc = self._uc
        uc.ctl_remove_cache(CODE, CODE + 64)
        uc.mem_write(CODE, code + b"\x00\xbf" * 8)
        uc.mem_write(DATA, bytes(range(256)) * 4)
        uc.reg_write(arm.UC_ARM_REG_CPSR, 0x20)
        uc.reg_write(arm.UC_ARM_REG_FPSCR, 0)
        for number, register in enumerate(REGISTERS):
            uc.reg_write(register, core[number])
        for number, register in enumerate(SINGLES):
            uc.reg_write(register, singles[number])
        uc.emu_start(CODE | 1, CODE + len(code), count=1)
        values = [uc.reg_read(register) for register in REGISTERS + SINGLES]
        return [*values, uc.reg_read(arm.UC_ARM_REG_CPSR) >> 28], bytes(uc.mem_read(DATA, 1024))


def _bit(place: int) -> int:
    """The register mask of a place in what _Machine.run returns."""
    if place < len(REGISTERS):
        return 1 << place
    return 1 << 16 + place - len(REGISTERS) if place < len(REGISTERS) + 32 else FLAGS_BIT


UNTOUCHABLE = {
    "ldrex",
    "ldrexb",
    "ldrexh",
    "strex",
    "strexb",
    "strexh",
    "msr",
    "cpsid",
    "cpsie",
    "vmsr",
    "clrex",
    "pld",
    "pli",
    "yield",
    "wfi",
    "wfe",
    "svc",
    "bkpt",
}  # the emulator stops at them, or they depend on more than registers


def test_reads_and_writes_are_those_of_the_emulator(assembled: dict[str, bytes]) -> None:
    machine = _Machine()
    core = {n: 3 + 5 * n for n in range(15)} | {4: DATA + 0x100, 13: DATA + 0x200}
    singles = {n: struct.unpack("<I", struct.pack("<f", 1.5 + n))[0] for n in range(32)}
    wrong: list[tuple[str, str, object]] = []
    not_executed: list[str] = []
    for name, _, text in FORMS:
        instruction = next(iter(instructions(CODE, assembled[text])))
        if name in UNTOUCHABLE or name.startswith("it") or instruction.branch is not Branch.NONE:
            continue
        code = assembled[text][: instruction.size]
        read = (
            instruction.operand | instruction.shifted | instruction.extract | instruction.multiplicand
            | instruction.accumulator | instruction.base | instruction.index | instruction.data
        )  # fmt: skip
        written = instruction.result | instruction.loaded | instruction.writeback
        start = [core[n] for n in range(15)] + [singles[n] for n in range(32)] + [0]
        try:
            values, memory = machine.run(code, core, singles)
        except UcError:
            not_executed.append(name)
            continue
        changed = sum(_bit(n) for n, (before, after) in enumerate(zip(start, values, strict=True)) if before != after)
        if changed & ~written & ~FLAGS_BIT or (changed & FLAGS_BIT and not written & FLAGS_BIT):
            wrong.append((text, "writes", hex(changed & ~written)))
        for place in range(15 + 32):
            if _bit(place) & read:
                continue
            other_core, other_singles = dict(core), dict(singles)
            if place < 15:
                other_core[place] ^= 0x10 if place in (4, 13) else 0x40000015
            else:
                other_singles[place - 15] ^= 0x00C00000
            other, other_memory = machine.run(code, other_core, other_singles)
            same = all(
                a == b or (n == place and not _bit(n) & written)
                for n, (a, b) in enumerate(zip(values, other, strict=True))
            )
            if not same or memory != other_memory:
                wrong.append((text, "reads", place))
    assert wrong == []
    assert not_executed == []


def test_widths_agree_with_the_disassembler_of_binutils(tmp_path: Path) -> None:
    source = Path(__file__).parent / "timing" / "programs" / "mix.c"
    elf = tmp_path / "mix.elf"
    subprocess.run(
        ["arm-none-eabi-gcc", "-mcpu=cortex-m7", "-mthumb", "-O2", "-ffreestanding", "-c", source, "-o", elf],
        check=True,
    )
    listing = subprocess.run(
        ["arm-none-eabi-objdump", "-d", "-z", elf], check=True, capture_output=True, text=True
    ).stdout
    lines = re.findall(r"^\s+([0-9a-f]+):\t([0-9a-f ]+?)\s*\t(\S+)", listing, re.M)
    code = {
        int(at, 16): bytes.fromhex("".join(half[2:] + half[:2] for half in raw.split()))
        for at, raw, m in lines
        if m[0] != "."
    }
    shown = {
        int(at, 16): mnemonic.removesuffix(".n").removesuffix(".w") for at, _, mnemonic in lines if mnemonic[0] != "."
    }
    checked = 0
    for at, raw in code.items():
        if shown[at] == "udf":
            continue
        found = next(iter(instructions(at, raw)))
        assert found.size == len(raw)
        if (
            not found.conditional
            and not shown[at].startswith("it")
            and shown[at] not in ("stmdb", "ldmia", "stmia", "nop")
        ):
            name = found.mnemonic.removesuffix(".w")
            assert name[:2] == shown[at][:2] or {name, shown[at]} <= {
                "mov",
                "lsl",
                "lsls",
                "movs",
                "mvn",
                "lsr",
                "asr",
            }, found.text
        checked += 1
    assert checked > 300


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("add.w r0, r1, r2, lsl #3", "shifted", 1 << 2),
        ("add.w r0, r1, r2, lsl #3", "traits", int(Trait.INLINE_SHIFT)),
        ("and r0, r1, #0xff00", "traits", int(Trait.INLINE_SHIFT)),
        ("and r0, r1, #0xff00ff00", "traits", 0),
        ("add r0, r1, #4095", "traits", 0),
        ("ldr r0, [r1], #4", "writeback", 1 << 1),
        ("ldr r0, [r1], #4", "offset", 0),
        ("ldr r0, [r1, #-4]!", "offset", -4),
        ("ldr.w r0, [r1, r2, lsl #2]", "index", 1 << 2),
        ("push {r4-r6, lr}", "words", 4),
        ("vldmia r0!, {d0-d3}", "words", 8),
        ("pop {r4, pc}", "branch", Branch.LOAD),
        ("pop {r4, pc}", "traits", int(Trait.RETURNS)),
        ("ldr pc, [r0, r1, lsl #2]", "branch", Branch.LOAD),
        ("mov pc, r3", "branch", Branch.REGISTER),
        ("bx lr", "traits", int(Trait.RETURNS)),
        ("blx r3", "traits", int(Trait.LINKS)),
        ("cbz r0, 9f", "traits", int(Trait.DECIDES)),
        ("mla r0, r1, r2, r3", "accumulator", 1 << 3),
        ("smlald r0, r1, r2, r3", "accumulator", 3),
        ("vfma.f32 s0, s1, s2", "accumulator", 1 << 16),
        ("str r0, [r1]", "data", 1),
        ("str r0, [r1]", "memory", Memory.STORE),
    ],
)
def test_fields_of_an_instruction(text: str, field: str, value: int, tmp_path: Path) -> None:
    (tmp_path / "a.s").write_text(f".syntax unified\n.cpu cortex-m7\n.fpu fpv5-d16\n.thumb\n{text}\nnop\n9: nop\n")
    subprocess.run(["arm-none-eabi-as", "a.s", "-o", "a.o"], check=True, cwd=tmp_path)
    subprocess.run(["arm-none-eabi-objcopy", "-O", "binary", "a.o", "a.bin"], check=True, cwd=tmp_path)
    assert getattr(next(iter(instructions(CODE, (tmp_path / "a.bin").read_bytes()))), field) == value


def test_conditions_of_an_it_block_are_seen() -> None:
    code = bytes.fromhex("0bbf0121002202237047")  # itete eq: moveq, movne, moveq; bxne
    found = list(instructions(CODE, code))
    assert [bool(i.traits & Trait.PREDICATED) for i in found] == [False, True, True, True, True]
    assert found[4].branch is Branch.REGISTER


def test_an_unknown_instruction_is_refused_with_address_bytes_and_text() -> None:
    with pytest.raises(UnpricedError, match=r"0x08000002: 01 de udf"):
        decode(
            np.array([CODE]), np.array([4]), lambda address, size: bytes.fromhex("00bf01de")[address - CODE :][:size]
        )


def test_undecodable_bytes_are_refused() -> None:
    with pytest.raises(UnpricedError, match="not decodable"):
        decode(np.array([CODE]), np.array([4]), lambda _address, size: b"\xff\xff\xff\xff"[:size])


def test_blocks_that_overlap_or_touch_share_rows() -> None:
    code = bytes.fromhex("00bf00bf00bf00bf")
    program = decode(np.array([CODE, CODE + 2, CODE + 6]), np.array([6, 4, 2]), lambda a, n: code[a - CODE :][:n])
    assert len(program.table) == 4
    assert program.first.tolist() == [0, 1, 3]
    assert program.last.tolist() == [3, 3, 4]


def test_nonsense_operands_are_not_understood() -> None:
    assert parse_operands("r0, [q9]") is None
    assert parse_operands("{r0, s1}") is None


def test_each_name_of_the_data_has_distinct_forms() -> None:
    for name, forms in load_isa().forms.items():
        for one, other in itertools.combinations(forms, 2):
            assert one.tokens != other.tokens, name
