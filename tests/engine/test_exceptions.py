"""Exceptions on the machine: entry, return, priorities, masks, stacks, faults; each against what silicon documents."""

from __future__ import annotations

import pytest

from tests.engine.conftest import Bench
from tinysim.engine.run import EXCEPTION_MARKER
from tinysim.engine.unicorn_machine import Ending
from tinysim.errors import FaultError

PARTS = ("stm32l4r5zi", "stm32h743zi")


@pytest.mark.parametrize("part", PARTS)
def test_svc_stacks_and_restores_the_caller(bench: Bench, part: str) -> None:
    ran = bench.run(
        """
        volatile uint32_t frame[8], seen, lr_seen, ipsr, after[4];
        __attribute__((naked)) void svc(void) {
          __asm volatile("mov r0, sp\\n mov r1, lr\\n push {r4, lr}\\n bl look\\n movs r0, #0\\n movs r1, #0\\n pop {r4, pc}");
        }
        void look(uint32_t *sp, uint32_t lr) {
          for (int k = 0; k < 8; ++k) frame[k] = sp[k];
          lr_seen = lr;
          __asm volatile("mrs %0, ipsr" : "=r"(ipsr));
          sp[0] = 99;   /* the value the caller gets back in r0 */
        }
        void program(void) {
          __asm volatile("movs r0, #1\\n movs r1, #2\\n movs r2, #3\\n movs r3, #4\\n mov r12, r3\\n svc 7\\n"
                         "ldr r4, =after\\n stmia r4, {r0-r3}\\n" ::: "r0", "r1", "r2", "r3", "r4", "r12", "memory");
        }
        """,
        part=part,
    )
    assert [ran.word("frame", k) for k in range(5)] == [1, 2, 3, 4, 4]
    code = ran.machine.read(ran.word("frame", 6) - 2, 2)
    assert code == b"\x07\xdf"                                # the return address follows SVC 7
    assert ran.word("frame", 7) >> 24 & 1 and ran.word("frame", 7) & 0x1FF == 0
    assert ran.word("lr_seen") == 0xFFFFFFF9 and ran.word("ipsr") == 11
    assert [ran.word("after", k) for k in range(4)] == [99, 2, 3, 4]
    (count,) = ran.run.exceptions
    assert (count.exception, count.entries, count.chained, count.returns) == (11, 1, 0, 1)
    assert count.handler == ran.machine.image.symbol("svc").address


def test_the_stack_is_aligned_to_eight_bytes_and_put_back(bench: Bench) -> None:
    ran = bench.run(
        """
        volatile uint32_t in_handler, before, after;
        __attribute__((naked)) void svc(void) {
          __asm volatile("ldr r0, =in_handler\\n mov r1, sp\\n str r1, [r0]\\n bx lr\\n .ltorg");
        }
        void program(void) {
          __asm volatile("mov r4, sp\\n sub sp, #4\\n mov r5, sp\\n svc 0\\n mov r6, sp\\n mov sp, r4\\n"
                         "ldr r0, =before\\n str r5, [r0]\\n ldr r0, =after\\n str r6, [r0]\\n" ::: "r0", "r1", "r4", "r5", "r6", "memory");
        }
        """
    )
    assert ran.word("before") == ran.word("after")
    assert ran.word("in_handler") % 8 == 0
    assert ran.word("before") - ran.word("in_handler") == (0x24 if ran.word("before") % 8 else 0x20)


def test_priorities_decide_who_preempts_and_equal_ones_chain(bench: Bench) -> None:
    ran = bench.run(
        """
        volatile uint32_t order[8], n;
        #define NOTE(x) order[n++] = x
        void irq0(void) { NOTE(1); R(0xE000E200) = 6; isb(); NOTE(2); }   /* pends 1 (higher) and 2 (equal) */
        void irq1(void) { NOTE(3); }
        void irq2(void) { NOTE(4); }
        void program(void) {
          *(volatile uint8_t *)0xE000E400 = 0x80; *(volatile uint8_t *)0xE000E401 = 0x40; *(volatile uint8_t *)0xE000E402 = 0x80;
          R(0xE000E100) = 7;
          R(0xE000EF00) = 0;                       /* STIR: interrupt 0 */
          isb();
          NOTE(5);
        }
        """
    )
    assert [ran.word("order", k) for k in range(5)] == [1, 3, 2, 4, 5]
    counts = {c.exception: c for c in ran.run.exceptions}
    assert (counts[16].entries, counts[17].entries, counts[18].entries) == (1, 1, 0)
    assert counts[18].chained == 1 and counts[18].returns == 1 and counts[16].returns == 0


@pytest.mark.parametrize(
    ("mask", "unmask"),
    [("cpsid i", "cpsie i"), ("cpsid f", "cpsie f"), ("movs r0, #0x40\\n msr basepri, r0", "movs r0, #0\\n msr basepri, r0")],
)
def test_a_masked_exception_comes_right_after_it_is_unmasked(bench: Bench, mask: str, unmask: str) -> None:
    ran = bench.run(
        f"""
        volatile uint32_t order[8], n;
        void irq0(void) {{ order[n++] = 2; }}
        void program(void) {{
          *(volatile uint8_t *)0xE000E400 = 0x80;
          R(0xE000E100) = 1;
          __asm volatile("{mask}" ::: "r0", "memory");
          R(0xE000E200) = 1;
          isb();
          order[n++] = 1;
          for (volatile int k = 0; k < 100; ++k) ;
          __asm volatile("{unmask}" ::: "r0", "memory");
          order[n++] = 3;
        }}
        """
    )
    assert [ran.word("order", k) for k in range(4)] == [1, 2, 3, 0]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("uses_fpu", [False, True])
def test_the_fpu_survives_a_handler_and_lazy_stacking_is_told(bench: Bench, part: str, uses_fpu: bool) -> None:
    work = "volatile float f = 3.0f; f = f * 2.0f; total += (uint32_t)f;" if uses_fpu else "total += 6;"
    ran = bench.run(
        f"""
        volatile uint32_t total, lr_seen; volatile float result;
        void work(void) {{ {work} }}
        __attribute__((naked)) void svc(void) {{
          __asm volatile("ldr r0, =lr_seen\\n str lr, [r0]\\n push {{r4, lr}}\\n bl work\\n pop {{r4, pc}}\\n .ltorg");
        }}
        void program(void) {{
          CPACR = 0xF << 20; isb();
          __asm volatile("vmov.f32 s0, #1.5\\n vmov.f32 s15, #2.5\\n svc 0\\n vadd.f32 s0, s0, s15\\n vstr s0, [%0]"
                         :: "r"(&result) : "s0", "s15", "r0", "r1", "r2", "r3", "r12", "memory");
        }}
        """,
        part=part,
    )
    assert ran.word("result") == 0x40800000                    # 4.0
    assert ran.word("total") == 6 and ran.word("lr_seen") == 0xFFFFFFE9
    (count,) = ran.run.exceptions
    assert (count.stacked_fp, count.unstacked_fp) == ((1, 1) if uses_fpu else (0, 0))


def test_a_float_instruction_with_the_fpu_off_faults_at_that_instruction(bench: Bench) -> None:
    with pytest.raises(FaultError, match="while the FPU is off") as caught:
        bench.run("volatile float x; volatile uint32_t reached; void program(void) { reached = 7; x = x * 3.0f; }")
    assert "NOCP" in caught.value.details and "FORCED" in caught.value.details
    assert "program" in caught.value.message


def test_a_handler_that_switches_the_fpu_on_lets_the_program_go_on(bench: Bench) -> None:
    ran = bench.run(
        """
        volatile float x; volatile uint32_t status;
        void usage_fault(void) { status = CFSR; CFSR = 0xFFFFFFFF; CPACR = 0xF << 20; isb(); }
        void program(void) { SHCSR |= 1 << 18; x = 2.0f; x = x * 3.0f; }
        """
    )
    assert ran.word("x") == 0x40C00000 and ran.word("status") == 1 << 19


FAULTS = {
    "null_call": ("((void (*)(void))0x30000001)();", "jumped to 0x30000000", "IBUSERR"),
    "no_thumb": ("__asm volatile(\"ldr r0, =program\\n bic r0, #1\\n bx r0\" ::: \"r0\");", "Thumb bit", "INVSTATE"),
    "bad_pointer": ("R(0x10) = R(0xA0000000);", "from 0xa0000000", "PRECISERR"),
    "undefined": ("__asm volatile(\"udf 1\");", "udf #1", "UNDEFINSTR"),
    "breakpoint": ("__asm volatile(\"bkpt 1\");", "a breakpoint", "DEBUGEVT"),
    "double": ("__asm volatile(\".fpu fpv5-d16\\n vadd.f64 d0, d1, d2\");", "double-precision", "UNDEFINSTR"),
    "masked_svc": ("__asm volatile(\"cpsid i\\n svc 0\");", "cannot preempt", "FORCED"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_unhandled_faults_say_what_where_and_who_called(bench: Bench, name: str) -> None:
    body, message, status = FAULTS[name]
    source = f"__attribute__((noinline)) void culprit(void) {{ CPACR = 0xF << 20; isb(); {body} }}\n"
    with pytest.raises(FaultError) as caught:
        bench.run(source + "void program(void) { culprit(); __asm volatile(\"\"); }")
    assert message in caught.value.message and status in caught.value.details
    assert "in culprit" in caught.value.details or "in culprit" in caught.value.message or name == "no_thumb"
    assert " sp " in caught.value.details and caught.value.hint


def test_a_fault_inside_the_fault_handler_locks_up(bench: Bench) -> None:
    with pytest.raises(FaultError, match="locked the core up"):
        bench.run("void hard_fault(void) { __asm volatile(\"udf 2\"); } void program(void) { __asm volatile(\"udf 1\"); }")


def test_a_fault_that_is_handled_and_skipped_is_no_error(bench: Bench) -> None:
    ran = bench.run(
        """
        volatile uint32_t went_on, faults;
        void skip(uint32_t *frame) { ++faults; frame[6] += 2; }
        __attribute__((naked)) void hard_fault(void) { __asm volatile("mov r0, sp\\n b skip"); }
        void program(void) { __asm volatile("mov r0, #0xA0000000\\n ldr r0, [r0]" ::: "r0"); went_on = 1; }
        """
    )
    assert (ran.word("went_on"), ran.word("faults")) == (1, 1)


def test_handlers_count_in_phases_of_their_own_inside_what_they_interrupt(bench: Bench) -> None:
    ran = bench.run(
        """
        volatile uint32_t x;
        void svc(void) { for (int k = 0; k < 10; ++k) x += k; }
        __attribute__((noinline)) void inner(void) { SVC(0); SVC(0); }
        void program(void) { SVC(0); inner(); }
        """,
        regions=["inner"],
    )
    phases = [p for p in ran.run.phases if p.marker == EXCEPTION_MARKER + 11]
    assert sorted(p.entries for p in phases) == [1, 2]
    breakdown = ran.estimate.region(0, 1_000_000).breakdown
    assert breakdown["exception entry and exit"] == 2 * (12 + 10)
    total = ran.estimate.region(None, 1_000_000)
    assert total.breakdown["exception entry and exit"] == 3 * (12 + 10)
    assert sum(f.cycles for f in total.functions) == pytest.approx(total.cycles, abs=len(total.functions))


def test_a_program_that_waits_with_nothing_to_come_is_idle(bench: Bench) -> None:
    for wait in ("wfi", "wfe", "b ."):
        ran = bench.run(f"void program(void) {{ for (;;) __asm volatile(\"{wait}\"); }}")
        assert ran.ending is Ending.IDLE


def test_yield_and_an_event_are_passed(bench: Bench) -> None:
    ran = bench.run("void program(void) { __asm volatile(\"yield\\n sev\\n wfe\\n nop\"); }")
    assert ran.ending is Ending.ADDRESS


def test_stack_overflow_names_what_lies_below(bench: Bench) -> None:
    source = """
        uint32_t victim[7168 * 1];
        __attribute__((noinline)) int deep(int n) { volatile int room[64]; room[0] = n; return n ? deep(n - 1) + room[0] : 0; }
        volatile int r; void program(void) { victim[0] = 1; r = deep(40); }
    """
    with pytest.raises(FaultError, match=r"stack overflow: main stack went \d+ bytes below .*\.bss"):
        bench.run(source)


def test_a_reset_request_ends_the_run(bench: Bench) -> None:
    with pytest.raises(FaultError, match="asked for a reset"):
        bench.run("void program(void) { R(0xE000ED0C) = 0x05FA0004; isb(); }")


def test_a_region_that_is_not_left_is_known(bench: Bench) -> None:
    ran = bench.run(
        "__attribute__((noinline)) void stuck(void) { done(); } void program(void) { stuck(); __asm volatile(\"\"); }", regions=["stuck", "program"]
    )
    assert ran.machine.open_regions() == (0, 1)


def test_a_fault_handler_that_touches_an_unknown_register_does_not_hide_the_fault(bench: Bench) -> None:
    with pytest.raises(FaultError, match="udf #1"):
        bench.run("void hard_fault(void) { R(0x40000000) = 1; } void program(void) { __asm volatile(\"udf 1\"); }")
