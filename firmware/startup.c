// Start-up of an Armv7E-M core: vector table, FPU, .data, .bss, constructors, main.
#include <stdint.h>
#include <string.h>

#include "tinysim.h"

#define SYSTEM_EXCEPTIONS 16
#define INTERRUPTS 240  // the most an Armv7-M NVIC can have: every part fits

#define CPACR (*(volatile uint32_t*)0xE000ED88u)  // Armv7-M Architecture Reference Manual, B3.2.20
#define CPACR_CP10_CP11_FULL (0xFu << 20)

extern uint32_t __data_load[], __data_start[], __data_end[], __bss_start[], __bss_end[];
extern void (*__init_array_start[])(void);
extern void (*__init_array_end[])(void);
extern uint8_t __stack_top[];

int main(void);

__attribute__((weak)) void tinysim_board_init(void) {}

// An exception nobody asked for. Its own symbol, so that whoever runs the firmware can name it.
__attribute__((used, noinline)) void tinysim_unexpected_exception(void) {
  tinysim_failed();
  for (;;) {
  }
}

__attribute__((used)) void Reset_Handler(void) {
#if defined(__ARM_FP)
  CPACR |= CPACR_CP10_CP11_FULL;
  __asm volatile("dsb\n isb" ::: "memory");
#endif
  tinysim_board_init();
  memcpy(__data_start, __data_load, (size_t)((uint8_t*)__data_end - (uint8_t*)__data_start));
  memset(__bss_start, 0, (size_t)((uint8_t*)__bss_end - (uint8_t*)__bss_start));
  for (void (**constructor)(void) = __init_array_start; constructor < __init_array_end; ++constructor) (*constructor)();
  main();
  for (;;) {
  }
}

union vector {
  void* stack;
  void (*handler)(void);
};

__attribute__((section(".isr_vector"), used)) const union vector tinysim_vectors[SYSTEM_EXCEPTIONS + INTERRUPTS] = {
    [0] = {.stack = __stack_top},
    [1] = {.handler = Reset_Handler},
    [2 ... SYSTEM_EXCEPTIONS + INTERRUPTS - 1] = {.handler = tinysim_unexpected_exception},
};

// What C++ needs where there is no C++ library.
void* __dso_handle;
__attribute__((noreturn)) static void never(void) {
  tinysim_log("call of a pure virtual function or of operator delete");
  tinysim_failed();
  for (;;) {
  }
}
void __cxa_pure_virtual(void) { never(); }
int __aeabi_atexit(void* object, void (*destroy)(void*), void* handle) {  // main never returns: nothing is destroyed
  (void)object, (void)destroy, (void)handle;
  return 0;
}
void _ZdlPv(void* block) { (void)block, never(); }                // operator delete(void*)
void _ZdlPvj(void* block, unsigned n) { (void)block, (void)n, never(); }  // operator delete(void*, unsigned)
