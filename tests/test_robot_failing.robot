*** Settings ***
Documentation     Every test here fails, each for one reason; tests/test_robot.py checks what it says.
Library           tinysim.robot

*** Variables ***
${MODELS}         ${CURDIR}/../examples/models

*** Test Cases ***
Too Slow
    Given model    ${MODELS}/dense_float32.tflite
    When model runs on part    stm32l4r5zi    clock=80MHz
    Then latency should be below    1 us

Too Large
    Run model on part    ${MODELS}/dense_float32.tflite    stm32l4r5zi
    Flash should fit    4K

Regressed
    Run model on part    ${MODELS}/dense_float32.tflite    stm32l4r5zi
    Latency should not regress by more than    1 %    baseline=${BASELINE}

No Such Part
    Run model on part    ${MODELS}/dense_float32.tflite    stm32z999

A Limit Without A Unit
    Run model on part    ${MODELS}/dense_float32.tflite    stm32l4r5zi
    Latency should be below    20

Nothing Measured
    Latency should be below    20 ms

No Such Function
    Run model on part    ${MODELS}/dense_float32.tflite    stm32l4r5zi
    Function should take fewer cycles than    nonsense    1
