/* The registers of an Armv7-M core and of an STM32L4+ that the examples use: addresses from the architecture and reference manuals. */
#ifndef CORE_H
#define CORE_H

#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(address))

/* system control space */
#define SYSTICK_CSR REGISTER(0xE000E010u)
#define SYSTICK_RVR REGISTER(0xE000E014u)
#define SYSTICK_CVR REGISTER(0xE000E018u)
#define SYSTICK_RUN 7u /* core clock, interrupt, enable */
#define NVIC_ISER(n) REGISTER(0xE000E100u + 4u * (n))
#define NVIC_IPR(irq) (*(volatile uint8_t *)(0xE000E400u + (irq)))
#define SCB_ICSR REGISTER(0xE000ED04u)
#define ICSR_PENDSVSET (1u << 28)
#define SCB_VTOR REGISTER(0xE000ED08u)
#define SCB_SHPR3 REGISTER(0xE000ED20u)
#define SCB_CPACR REGISTER(0xE000ED88u)
#define DEMCR REGISTER(0xE000EDFCu)
#define DWT_CTRL REGISTER(0xE0001000u)
#define DWT_CYCCNT REGISTER(0xE0001004u)

/* STM32L4+ */
#define RCC_CR REGISTER(0x40021000u)
#define RCC_CFGR REGISTER(0x40021008u)
#define RCC_AHB2ENR REGISTER(0x4002104Cu)
#define RCC_APB2ENR REGISTER(0x40021060u)
#define FLASH_ACR REGISTER(0x40022000u)
#define GPIOA_MODER REGISTER(0x48000000u)
#define GPIOA_AFRH REGISTER(0x48000024u)
#define USART1_CR1 REGISTER(0x40013800u)
#define USART1_BRR REGISTER(0x4001380Cu)
#define USART1_ISR REGISTER(0x4001381Cu)
#define USART1_RDR REGISTER(0x40013824u)
#define USART1_TDR REGISTER(0x40013828u)
#define USART1_IRQ 37u
#define USART_RXNE (1u << 5)
#define USART_TXE (1u << 7)

static inline void enable_interrupts(void) { __asm volatile("cpsie i" ::: "memory"); }
static inline void disable_interrupts(void) { __asm volatile("cpsid i" ::: "memory"); }
static inline void wait_for_interrupt(void) { __asm volatile("wfi" ::: "memory"); }
static inline void barrier(void) { __asm volatile("dsb\n isb" ::: "memory"); }

/* Where the examples are over: an empty function, so that a run can end there (tinysim run --until finished). */
void finished(void);

void print(const char *text);
void print_number(uint32_t number);

#endif
