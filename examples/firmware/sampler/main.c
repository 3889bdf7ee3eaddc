/* Bare metal: bytes come in by interrupt into a ring buffer, SysTick sets the pace, a filter runs over what came. */
#include "core.h"

#define TAPS 32u
#define RING 64u
#define ROUNDS 4u
#define TICK_CYCLES 12000u /* 100 us at 120 MHz */

static volatile uint8_t ring[RING];
static volatile uint32_t written, ticks;
static uint32_t taken;
static float history[TAPS];
static float weights[TAPS];
volatile float level;

void SysTick_Handler(void) { ++ticks; }

void USART1_Handler(void) {
  if (USART1_ISR & USART_RXNE) ring[written++ % RING] = (uint8_t)USART1_RDR;
}

__attribute__((noinline)) float filter(float sample) {
  float sum = 0.0f;
  for (uint32_t k = TAPS - 1; k > 0; --k) history[k] = history[k - 1];
  history[0] = sample;
  for (uint32_t k = 0; k < TAPS; ++k) sum += history[k] * weights[k];
  return sum;
}

/* Everything that has come in goes through the filter. */
__attribute__((noinline)) uint32_t process(void) {
  uint32_t count = 0;
  while (taken != written) {
    level = filter((float)ring[taken++ % RING]);
    ++count;
  }
  return count;
}

int main(void) {
  for (uint32_t k = 0; k < TAPS; ++k) weights[k] = 1.0f / (float)TAPS;
  NVIC_IPR(USART1_IRQ) = 0x40;
  NVIC_ISER(USART1_IRQ / 32) = 1u << USART1_IRQ % 32;
  USART1_CR1 |= USART_RXNE;
  SYSTICK_RVR = TICK_CYCLES - 1u;
  SYSTICK_CVR = 0;
  SYSTICK_CSR = SYSTICK_RUN;
  for (uint32_t round = 0; round < ROUNDS; ++round) {
    const uint32_t due = ticks + 10u;
    while (ticks < due) wait_for_interrupt();
    const uint32_t start = DWT_CYCCNT;
    const uint32_t count = process();
    const uint32_t cycles = DWT_CYCCNT - start;
    print("bytes ");
    print_number(count);
    print(" cycles ");
    print_number(cycles);
    print(" level ");
    print_number((uint32_t)level);
    print("\r\n");
  }
  finished();
  for (;;) wait_for_interrupt();
}
