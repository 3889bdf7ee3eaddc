*** Settings ***
Documentation     How fast models must be, on which part, with how much memory, and that their answers are right.
...               ``robot robot/`` from the project's folder runs it; ``--variable ENGINE:renode`` runs it in Renode.
Library           tinysim.robot    engine=${ENGINE}

*** Variables ***
${ENGINE}         unicorn
${MODELS}         ${CURDIR}/../examples/models

*** Test Cases ***
A Convolutional Network Is Fast Enough For Ten Frames A Second
    Given model    ${MODELS}/cnn_int8.tflite
    When model runs on part    stm32l4r5zi    clock=120MHz
    Then latency should be below    100 ms
    And flash should fit
    And RAM should fit    64K
    And stack peak should be below    8K
    And outputs should match reference

CMSIS-NN Pays
    ${reference}=    Run model on part    ${MODELS}/cnn_int8.tflite    stm32l4r5zi    kernels=reference
    Run model on part    ${MODELS}/cnn_int8.tflite    stm32l4r5zi    kernels=cmsis-nn
    It should be faster than    ${reference}    by=30 %

The Same Model Needs Fewer Cycles On A Dual-Issue Core
    Run model on part    ${MODELS}/dense_float32.tflite    stm32l4r5zi
    ${single_issue}=    Get cycles
    Run model on part    ${MODELS}/dense_float32.tflite    stm32h723zg
    Cycles should be below    ${single_issue}

Most Of The Time Goes Into Convolutions
    Run model on part    ${MODELS}/cnn_int8.tflite    stm32l4r5zi    clock=80MHz
    ${cycles}=    Get cycles
    Layer should take fewer cycles than    SOFTMAX    ${cycles // 100}

A Change Of The Model Must Not Cost Time Unseen
    Run model on part    ${MODELS}/dense_float32.tflite    stm32l4r5zi
    Save baseline    ${OUTPUT DIR}/dense.json
    Run model on part    ${MODELS}/dense_float32.tflite    stm32l4r5zi
    Latency should not regress by more than    0.1 %    baseline=${OUTPUT DIR}/dense.json
