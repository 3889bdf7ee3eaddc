/* A bare-metal program: filters 256 samples and adds up the result. Nothing of tinysim is in it. */
#include <stdint.h>

#define SAMPLES 256
#define TAPS 16

extern uint32_t _estack;
static int32_t input[SAMPLES + TAPS], output[SAMPLES];
volatile uint32_t answer;

__attribute__((noinline)) void start_trigger(void) { __asm volatile("" ::: "memory"); }
__attribute__((noinline)) void stop_trigger(void) { __asm volatile("" ::: "memory"); }
__attribute__((noinline, noreturn)) void finished(void) { for (;;) __asm volatile(""); }

__attribute__((noinline)) void filter(const int32_t *in, int32_t *out, int samples)
{
    static const int32_t taps[TAPS] = { 1, -3, 5, -8, 13, -21, 34, 55, 55, 34, -21, 13, -8, 5, -3, 1 };
    for (int i = 0; i < samples; i++) {
        int32_t sum = 0;
        for (int t = 0; t < TAPS; t++) sum += taps[t] * in[i + t];
        out[i] = sum >> 7;
    }
}

__attribute__((noinline)) uint32_t checksum(const int32_t *values, int count)
{
    uint32_t sum = 1;
    for (int i = 0; i < count; i++) sum = sum * 31 + (uint32_t)values[i];
    return sum;
}

void Reset_Handler(void)
{
    for (int i = 0; i < SAMPLES + TAPS; i++) input[i] = (i * 37 % 101) - 50;
    start_trigger();
    filter(input, output, SAMPLES);
    stop_trigger();
    answer = checksum(output, SAMPLES);
    finished();
}

__attribute__((section(".vectors"), used)) const void *const vectors[16] = { &_estack, Reset_Handler };
