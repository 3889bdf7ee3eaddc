*** Settings ***
Documentation     The three models of the founding benchmark on several microcontrollers: one row a part.
Library           tinysim.robot    engine=${ENGINE}
Test Template     It Runs, Fits And Answers Rightly

*** Variables ***
${ENGINE}         unicorn
${MODELS}         ${CURDIR}/../examples/models

*** Test Cases ***                        MODEL                               PART             CLOCK       LIMIT
House Prices On An L4                     house_price_float32                 stm32l4r5zi      120MHz      5 ms
House Prices On An H7                     house_price_float32                 stm32h723zg      550MHz      1 ms
House Prices On An F4                     house_price_int8                    stm32f446re      180MHz      2 ms
Human Activity On An L4                   human_activity_float32              stm32l4r5zi      120MHz      200 ms
Human Activity On An F7                   human_activity_int8                 stm32f746ng      216MHz      50 ms

*** Keywords ***
It Runs, Fits And Answers Rightly
    [Arguments]    ${model}    ${part}    ${clock}    ${limit}
    Given model    ${MODELS}/${model}.tflite
    When model runs on part    ${part}    clock=${clock}
    Then latency should be below    ${limit}
    And flash should fit
    And RAM should fit
    And outputs should match reference
