"""Operators of interpreters in other people's firmware: found by the names of old and newer TFLM."""

from __future__ import annotations

from pathlib import Path

import pytest
from arm_programs import PART, build

from tinysim.layers import find_interpreter_loop
from tinysim.measure import measure

SOURCE = r"""
#define APART __attribute__((noinline, noclone))
typedef int (*Kernel)(void*, void*);
extern "C" { volatile int out; APART void halt() { for (;;) __asm volatile(""); } }
APART static int spin(int n) { int s = 0; for (int i = 0; i < n; i++) s += i * out; return s; }
namespace tflite {
struct MicroAllocator { virtual int ResetTempAllocations(); };
APART int MicroAllocator::ResetTempAllocations() { return spin(3); }
namespace ops { namespace micro { namespace conv { APART int Eval(void*, void*) { return spin(200); } } } }
namespace { APART int SoftmaxEval(void*, void*) { return spin(50); } }
Kernel plan[3] = {ops::micro::conv::Eval, SoftmaxEval, ops::micro::conv::Eval};
MicroAllocator* volatile allocator;
#if defined(OLD)
struct MicroInterpreter { APART int Invoke(); };
APART int MicroInterpreter::Invoke() {
    for (Kernel kernel : plan) if (kernel(this, nullptr) == -1) return 1;
    return 0;
}
#else
struct GRAPH { APART int InvokeSubgraph(int); };
APART int GRAPH::InvokeSubgraph(int) {
    for (Kernel kernel : plan) { if (kernel(this, nullptr) == -1) return 1; allocator->ResetTempAllocations(); }
    return 0;
}
struct MicroInterpreter { GRAPH graph; APART int Invoke(); };
APART int MicroInterpreter::Invoke() { int result = graph.InvokeSubgraph(0); __asm volatile(""); return result; }
#endif
}
static tflite::MicroAllocator memory; static tflite::MicroInterpreter interpreter;
extern "C" void* vtable[1];
APART static void classify() { interpreter.Invoke(); __asm volatile(""); }
extern "C" void start() {
    new_plan();
    for (int k = 0; k < ROUNDS; k++) classify();
    halt();
}
"""
SET_UP = """
static void new_plan() {
    ::tflite::plan[0] = ::tflite::ops::micro::conv::Eval;
    ::tflite::plan[1] = ::tflite::SoftmaxEval;
    ::tflite::plan[2] = ::tflite::ops::micro::conv::Eval;
    new (&memory) tflite::MicroAllocator; ::tflite::allocator = &memory;
}
extern "C" void start() {"""


def source(rounds: int) -> str:
    """Nothing copies .data and nothing runs constructors: the program sets up its own tables."""
    text = SOURCE.replace(
        'extern "C" void* vtable[1];\n', "inline void* operator new(unsigned, void* p) { return p; }\n"
    )
    return text.replace('extern "C" void start() {', SET_UP).replace("ROUNDS", str(rounds))


@pytest.mark.parametrize("naming", ["-DOLD", "-DGRAPH=MicroGraph", "-DGRAPH=MicroInterpreterGraph"])
def test_operators_are_found_and_timed(tmp_path: Path, naming: str) -> None:
    elf = build(tmp_path, source(4), "-O1", "-g", "-fno-exceptions", "-fno-rtti", naming, suffix=".cc")
    result, measured = measure(elf, PART, functions=["classify"], until="halt")
    assert [layer.op for layer in result.layers] == ["conv::Eval", "SoftmaxEval", "conv::Eval"]
    assert [layer.index for layer in result.layers] == [0, 1, 2]
    first, softmax, last = (layer.cycles for layer in result.layers)
    assert first == pytest.approx(last, rel=0.1) and 3.5 < first / softmax < 4.1
    assert sum(layer.cycles for layer in result.layers) < result.cycles == round(result.regions[0].cycles / 4)
    assert find_interpreter_loop(measured.image) is not None


def test_layers_of_the_whole_program_are_of_all_its_calls(tmp_path: Path) -> None:
    options = ("-O1", "-g", "-fno-exceptions", "-fno-rtti", "-DOLD")
    once, _ = measure(build(tmp_path, source(1), *options, suffix=".cc"), PART, until="halt")
    thrice, _ = measure(build(tmp_path, source(3), *options, suffix=".cc"), PART, until="halt")
    for one, three in zip(once.layers, thrice.layers, strict=True):
        assert three.cycles == pytest.approx(3 * one.cycles, rel=0.1)


def test_a_program_without_an_interpreter_has_no_layers(tmp_path: Path) -> None:
    halt = '__attribute__((noinline)) void halt(void) { for (;;) __asm volatile(""); }'
    elf = build(tmp_path, halt + " void start(void) { halt(); }", "-O1")
    assert measure(elf, PART, until="halt")[0].layers == ()
