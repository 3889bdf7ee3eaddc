@ Calls `f` with small numbers in r0 to r3 and the addresses of eight words in r4 and r5, then waits for ever.
    .syntax unified
    .thumb
    .text
    .balign 8
    .global start
    .type start, %function
start:
    ldr r0, =0xE000ED88        @ CPACR: the FPU on
    ldr r1, =0x00F00000
    str r1, [r0]
    ldr r4, =data
    str r4, [r4]               @ the first word holds its own address
    dsb
    isb
    movs r0, #0
    movs r1, #1
    movs r2, #2
    movs r3, #3
    ldr r5, =data + 4          @ pairs with the call on a Cortex-M7
    bl f
end:
    b end
    .pool

    .bss
    .balign 8
data:
    .space 40
