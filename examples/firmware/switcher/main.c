/* Two tasks on stacks of their own, switched by PendSV on every tick: one counts primes, one integrates in floating point. */
#include "core.h"

#define STACK_WORDS 128u
#define TASKS 2u
#define TICK_CYCLES 6000u /* 50 us at 120 MHz */
#define ROUNDS 20u

struct task {
  uint32_t *stack_pointer; /* PendSV_Handler relies on its being first */
};

static uint32_t prime_stack[STACK_WORDS] __attribute__((aligned(8)));
static uint32_t integral_stack[STACK_WORDS] __attribute__((aligned(8)));
static struct task tasks[TASKS];
struct task *volatile current_task = tasks;
static volatile uint32_t ticks;
static volatile uint32_t primes_found, rounds_done;
static volatile float integral;

static void yield(void) {
  SCB_ICSR = ICSR_PENDSVSET;
  barrier();
}

__attribute__((noinline)) uint32_t count_primes(uint32_t limit) {
  uint32_t found = 0;
  for (uint32_t candidate = 2; candidate < limit; ++candidate) {
    uint32_t divisor = 2;
    while (divisor * divisor <= candidate && candidate % divisor) ++divisor;
    found += divisor * divisor > candidate;
  }
  return found;
}

__attribute__((noinline)) float integrate(uint32_t steps) {
  float sum = 0.0f;
  const float step = 1.0f / (float)steps;
  for (uint32_t k = 0; k < steps; ++k) {
    const float x = ((float)k + 0.5f) * step;
    sum += 4.0f / (1.0f + x * x);
  }
  return sum * step;
}

static void prime_task(void) {
  for (;;) {
    primes_found = count_primes(200);
    yield();
  }
}

static void integral_task(void) {
  for (;;) {
    integral = integrate(400);
    if (++rounds_done == ROUNDS) {
      disable_interrupts();
      print("primes ");
      print_number(primes_found);
      print(" integral x1000 ");
      print_number((uint32_t)(integral * 1000.0f));
      print(" ticks ");
      print_number(ticks);
      print("\r\n");
      finished();
      for (;;) wait_for_interrupt();
    }
    yield();
  }
}

void switch_task(void) { current_task = current_task == tasks ? tasks + 1 : tasks; }

void SysTick_Handler(void) {
  ++ticks;
  SCB_ICSR = ICSR_PENDSVSET;
}

/* Starts the first task: its frame is unstacked from the process stack. */
__attribute__((naked)) void SVC_Handler(void) {
  __asm volatile(
      "ldr r3, =current_task\n ldr r1, [r3]\n ldr r0, [r1]\n"
      "ldmia r0!, {r4-r11, lr}\n msr psp, r0\n isb\n bx lr\n .ltorg\n");
}

__attribute__((naked)) void PendSV_Handler(void) {
  __asm volatile(
      "mrs r0, psp\n isb\n"
      "ldr r3, =current_task\n ldr r2, [r3]\n"
      "tst lr, #0x10\n it eq\n vstmdbeq r0!, {s16-s31}\n"
      "stmdb r0!, {r4-r11, lr}\n str r0, [r2]\n"
      "push {r3, lr}\n cpsid i\n bl switch_task\n cpsie i\n pop {r3, lr}\n"
      "ldr r1, [r3]\n ldr r0, [r1]\n"
      "ldmia r0!, {r4-r11, lr}\n"
      "tst lr, #0x10\n it eq\n vldmiaeq r0!, {s16-s31}\n"
      "msr psp, r0\n isb\n bx lr\n .ltorg\n");
}

static void make_task(struct task *task, uint32_t *stack, void (*entry)(void)) {
  uint32_t *top = stack + STACK_WORDS;
  *--top = 1u << 24;         /* xPSR: Thumb */
  *--top = (uint32_t)entry;  /* pc */
  *--top = 0xFFFFFFFFu;      /* lr: tasks do not return */
  for (int k = 0; k < 5; ++k) *--top = 0; /* r12, r3 to r0 */
  *--top = 0xFFFFFFFDu;      /* EXC_RETURN: thread mode, process stack, no floating-point context */
  for (int k = 0; k < 8; ++k) *--top = 0; /* r11 to r4 */
  task->stack_pointer = top;
}

int main(void) {
  make_task(&tasks[0], prime_stack, prime_task);
  make_task(&tasks[1], integral_stack, integral_task);
  SCB_SHPR3 = 0xFFF00000u & (0xF0u << 16 | 0xE0u << 24); /* PendSV lowest, SysTick above it */
  SYSTICK_RVR = TICK_CYCLES - 1u;
  SYSTICK_CVR = 0;
  SYSTICK_CSR = SYSTICK_RUN;
  __asm volatile("svc 0");
  for (;;) {
  }
}
