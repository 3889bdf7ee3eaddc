*** Settings ***
Documentation     Firmware of one's own: any linked ELF file, measured by function and by stretch.
Library           OperatingSystem
Library           Process
Library           tinysim.robot    engine=${ENGINE}
Suite Setup       Build The Firmware

*** Variables ***
${ENGINE}         unicorn
${CC}             arm-none-eabi-gcc
@{FLAGS}          -mcpu=cortex-m4    -mthumb    -mfloat-abi=soft    -O2    -ffreestanding    -nostdlib

*** Test Cases ***
A Filter Keeps Up With Its Sampling Rate
    [Documentation]    256 samples at 48 kHz come every 5.3 ms.
    Given firmware    ${ELF}
    And measured function    filter
    When firmware runs on part    stm32l4r5zi    clock=80MHz    until=finished
    Then latency should be below    5.3 ms
    And function should take fewer cycles than    filter    60000
    And stack peak should be below    256

Both Halves Of The Work Are Measured At Once
    Run firmware on part    ${ELF}    stm32l4r5zi    filter    checksum    until=finished
    Function should take fewer cycles than    checksum    10000
    Flash should fit    4K

What Lies Between Two Triggers Is Measured
    Given firmware    ${ELF}
    And measured stretch    start_trigger    stop_trigger
    When firmware runs on part    stm32f446re    clock=168MHz    until=finished
    Then latency should be below    1 ms

*** Keywords ***
Build The Firmware
    Create Directory    ${OUTPUT DIR}/firmware
    VAR    ${ELF}    ${OUTPUT DIR}/firmware/filter.elf    scope=SUITE
    ${built}=    Run Process    ${CC}    @{FLAGS}    -T    ${CURDIR}/firmware/filter.ld    -o    ${ELF}    ${CURDIR}/firmware/filter.c
    ...    stderr=STDOUT
    Should Be Equal As Integers    ${built.rc}    0    ${built.stdout}
