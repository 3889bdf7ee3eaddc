# make demo   set up, then time two models on two parts, and the founding benchmark on its four microcontrollers
# make test   set up, then run the tests
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup demo test robot lint bench fuzz accuracy clean

help:
	@sed -n 's/^# //p' Makefile

# make setup  what is missing: Debian packages (as root or with sudo), .venv with tinysim in it
setup:
	@PYTHON=$(PYTHON) bash .ci/setup

demo: setup
	$(BIN)/tinysim bench examples/models/cnn_int8.tflite examples/models/dense_float32.tflite --part stm32l4r5zi,stm32h723zg
	$(BIN)/tinysim seeds

test: setup
	$(BIN)/python -m pytest -n auto tests

# make robot  the Robot Framework suites
robot: setup
	$(BIN)/robot --outputdir output robot/

# make lint   ruff and mypy
lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy

# make bench  speed of the simulator, as ratios
bench: setup
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/memory.py --part stm32h723zg

# make fuzz   100,000 damaged ELF files through the loader
fuzz: setup
	$(MAKE) -C examples/firmware
	$(BIN)/python benchmarks/fuzz_elf.py examples/firmware/build/sampler.elf

# make accuracy  write docs/accuracy.md again
accuracy: setup
	$(BIN)/tinysim accuracy --output docs/accuracy.md

clean:
	rm -rf .venv output
