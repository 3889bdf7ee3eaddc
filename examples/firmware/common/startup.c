/* Start-up of the examples: vector table, clocks, FPU, memory, USART1 for printing. */
#include "core.h"

extern uint32_t __data_load[], __data_start[], __data_end[], __bss_start[], __bss_end[], __stack_top[];

int main(void);

void Default_Handler(void) {
  for (;;) {
  }
}

#define WEAK __attribute__((weak, alias("Default_Handler")))
void NMI_Handler(void) WEAK;
void HardFault_Handler(void) WEAK;
void MemManage_Handler(void) WEAK;
void BusFault_Handler(void) WEAK;
void UsageFault_Handler(void) WEAK;
void SVC_Handler(void) WEAK;
void PendSV_Handler(void) WEAK;
void SysTick_Handler(void) WEAK;
void USART1_Handler(void) WEAK;
void Reset_Handler(void);

typedef void (*handler)(void);

__attribute__((section(".vectors"), used)) const handler vectors[16 + 96] = {
    [0] = (handler)__stack_top,
    [1] = Reset_Handler,
    [2] = NMI_Handler,
    [3] = HardFault_Handler,
    [4] = MemManage_Handler,
    [5] = BusFault_Handler,
    [6] = UsageFault_Handler,
    [11] = SVC_Handler,
    [14] = PendSV_Handler,
    [15] = SysTick_Handler,
    [16 + USART1_IRQ] = USART1_Handler,
};

static void set_up_clocks(void) {
  FLASH_ACR = 0x700u | 5u; /* caches, prefetch, five wait states: 120 MHz */
  while ((FLASH_ACR & 15u) != 5u) {
  }
  RCC_CR |= 1u << 8; /* HSI16 */
  while (!(RCC_CR & 1u << 10)) {
  }
  RCC_CR |= 1u << 24; /* PLL */
  while (!(RCC_CR & 1u << 25)) {
  }
  RCC_CFGR |= 3u;
  while ((RCC_CFGR >> 2 & 3u) != 3u) {
  }
}

static void set_up_uart(void) {
  RCC_AHB2ENR |= 1u;
  RCC_APB2ENR |= 1u << 14;
  GPIOA_MODER = (GPIOA_MODER & ~(0xFu << 18)) | 0xAu << 18; /* PA9 and PA10: alternate function */
  GPIOA_AFRH = (GPIOA_AFRH & ~(0xFFu << 4)) | 0x77u << 4;
  USART1_BRR = 1042u; /* 115200 baud at 120 MHz */
  USART1_CR1 = 0xDu;  /* transmit, receive, enable */
}

void Reset_Handler(void) {
  SCB_VTOR = (uint32_t)vectors;
  SCB_CPACR |= 0xFu << 20;
  barrier();
  set_up_clocks();
  uint32_t *from = __data_load;
  for (uint32_t *to = __data_start; to < __data_end;) *to++ = *from++;
  for (uint32_t *to = __bss_start; to < __bss_end;) *to++ = 0;
  set_up_uart();
  DEMCR |= 1u << 24;
  DWT_CTRL |= 1u;
  main();
  for (;;) {
  }
}

__attribute__((noinline)) void finished(void) { __asm volatile(""); }

void print(const char *text) {
  while (*text) {
    while (!(USART1_ISR & USART_TXE)) {
    }
    USART1_TDR = (uint8_t)*text++;
  }
}

void print_number(uint32_t number) {
  char digits[11];
  char *first = digits + 10;
  *first = 0;
  do {
    *--first = (char)('0' + number % 10u);
    number /= 10u;
  } while (number);
  print(first);
}
