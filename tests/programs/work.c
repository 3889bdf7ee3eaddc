// Functions to measure, and ways to go wrong. `choose` in r0 of start picks what runs.
typedef unsigned int word;

volatile word sink;
word numbers[16] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};

__attribute__((noinline)) word sum(const word* values, word count) {
  word total = 0;
  for (word i = 0; i < count; ++i) total += values[i];
  return total;
}

__attribute__((noinline)) word factorial(word n) { return n < 2 ? 1 : n * factorial(n - 1); }

__attribute__((noinline)) void deep(void) {
  volatile word space[64];
  for (word i = 0; i < 64; ++i) space[i] = i;
  sink = space[63];
}

__attribute__((noinline)) void mark_start(void) { __asm volatile(""); }
__attribute__((noinline)) void mark_stop(void) { __asm volatile(""); }
__attribute__((noinline)) void never_called(void) { sink = 7; }

__attribute__((noinline)) void fault(void) {
#if FAULT == 0
  __asm volatile("");
#elif FAULT == 1
  sink = *(volatile word*)0x60000000;
#elif FAULT == 2
  ((void (*)(void))0x30000001)();
#elif FAULT == 3
  __asm volatile("udf #1");
#elif FAULT == 4
  __asm volatile("bkpt #3");
#elif FAULT == 5
  for (;;) sink = 1;
#elif FAULT == 6
  __asm volatile("svc #0");
#elif FAULT == 7
  __asm volatile("vadd.f64 d0, d1, d2");
#endif
}

__attribute__((noreturn)) void start(void) {
  *(volatile word*)0xE000ED88 |= 0xFu << 20;
  __asm volatile("dsb\n isb");
  for (word i = 0; i < 16; ++i) ((volatile word*)numbers)[i] = i + 1;
  sink = sum(numbers, 16);
  sink = sum(numbers, 4);
  sink = factorial(5);
  mark_start();
  deep();
  mark_stop();
  fault();
  for (;;) {
  }
}
