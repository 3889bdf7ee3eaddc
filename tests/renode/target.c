/* A program for the tests of the engine "renode": calls, recursion, a tail call, a dispatch loop, and ways to go wrong. */
#include <stdint.h>

enum { WORK, READ_HOLE, SPIN, SLEEP, JUMP_HOLE };
volatile uint32_t mode __attribute__((section(".noinit")));
volatile uint32_t rounds __attribute__((section(".noinit")));
volatile uint32_t result __attribute__((section(".noinit")));
volatile uint32_t logged;

extern uint32_t _estack, _sbss, _ebss;
typedef uint32_t (*operation)(uint32_t);

__attribute__((noinline)) void mark_begin(void) { __asm volatile("" ::: "memory"); }
__attribute__((noinline)) void mark_end(void) { __asm volatile("" ::: "memory"); }
__attribute__((noinline)) void note(void) { __asm volatile("" ::: "memory"); }
__attribute__((noinline, noreturn)) void finished(void) { for (;;) __asm volatile(""); }

__attribute__((noinline)) uint32_t leaf(uint32_t x) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < 20; i++) sum += (x >> (i & 7)) * i ^ (sum << 1);
    return sum;
}
__attribute__((noinline)) uint32_t tail(uint32_t x) { __asm volatile("" ::: "memory"); return leaf(x + 1); }
__attribute__((noinline)) uint32_t fib(uint32_t n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
__attribute__((noinline)) uint32_t straight(uint32_t x) {
#define STEP x = x * 33 + (x >> 3); x ^= x << 5;
    STEP STEP STEP STEP STEP STEP STEP STEP STEP STEP STEP STEP STEP STEP STEP STEP
    return x;
}
static const operation plan[] = { leaf, tail, straight, leaf };
__attribute__((noinline)) uint32_t invoke(void) {
    uint32_t value = 7;
    for (uint32_t i = 0; i < sizeof plan / sizeof *plan; i++) value ^= ((operation)((volatile const operation *)plan)[i])(value);
    return value;
}

void Reset_Handler(void) {
    for (uint32_t *word = &_sbss; word < &_ebss; word++) *word = 0;
    mark_begin();
    uint32_t value = 0;
    for (uint32_t i = 0; i < rounds; i++) { value += invoke() + fib(7) + tail(i); note(); }
    if (mode == READ_HOLE) value += *(volatile uint32_t *)0x60000000u;
    if (mode == SPIN) for (;;) __asm volatile("nop");
    if (mode == SLEEP) __asm volatile("wfi");
    mark_end();
    result = value;
    finished();
}

void Default_Handler(void) { for (;;) __asm volatile("nop"); }

__attribute__((section(".isr_vector"), used)) const void *const vectors[16] = {
    &_estack, Reset_Handler, Default_Handler, Default_Handler, Default_Handler, Default_Handler, Default_Handler,
};
