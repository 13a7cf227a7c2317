# Thin verbs; each sets up what it needs. Settings live in pyproject.toml.
PY := .venv/bin/python
# Tests and models run side by side on few cores, where BLAS threads wait for each other.
export OPENBLAS_NUM_THREADS ?= 1
OUT ?= build
BOARD ?= ulx3s

.PHONY: help setup demo test lint sim bench media drift features faults fuzz mutants formal bitstream adapters netlist docs clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

setup: ## a virtual environment in .venv with everything
	@tools/setup.sh

demo: setup ## train through the twin, replay on the RTL, leave pictures in build/demo
	@.venv/bin/openopu demo --out $(OUT)/demo

test: setup lint ## everything that CI needs
	@$(PY) -m pytest -n 2 --dist worksteal tests

lint: setup ## style and types
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check --quiet . || { echo "run: .venv/bin/ruff format ."; exit 1; }
	@.venv/bin/mypy

sim: setup ## the RTL bench behind a serial port, until interrupted
	@.venv/bin/openopu cosim --simulator verilator

fuzz: setup ## damaged packets in both directions, a million corrupted bytes
	@$(PY) tools/fuzz_link.py --out $(OUT)/fuzz

bench: setup ## the measurements of docs/results.md, in build/bench/summary.json
	@$(PY) tools/bench.py --out $(OUT)/bench

media: setup ## statistics of the optical media beside theory, and their speed, in build/media
	@$(PY) tools/media.py --out $(OUT)/media
	@$(PY) tools/speed_of_media.py --out $(OUT)/media

drift: setup ## the monitor of a drifting medium, and trainings on it, in build/drift
	@$(PY) tools/drift.py --out $(OUT)/drift

docs: setup ## reference pages from the declaration, timing diagrams from simulation, wiring from the boards' pins
	@$(PY) tools/reference.py
	@$(PY) tools/timing.py
	@$(PY) tools/wiring.py

faults: setup ## 200 cases of a frame lost, repeated, delayed or cut in 1,000: is any row another's?
	@$(PY) tools/pairing.py --out $(OUT)/pairing.json

mutants: setup ## seed faults into the gateware, one at a time: do the tests notice?
	@$(PY) tools/mutants.py --out $(OUT)/mutants.json

formal: setup ## proofs of the gateware, and seeded faults that each must find; the table in docs/formal.md
	@$(PY) tools/formal.py --page --out $(OUT)/formal

bitstream: setup ## of BOARD (ulx3s, icepi_zero, arty_a7), with LINK if not its usual one; its line in docs/boards.md
	@.venv/bin/openopu bitstream --board $(BOARD) $(if $(LINK),--link $(LINK)) --out $(OUT)/bitstream --report docs/boards.md

adapters: setup ## slmsuite (190 MB with its OpenCV), and what it does with our modulator and camera
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,slmsuite]'
	@$(PY) -m pytest -n 0 tests/host/adapters/slmsuite_checks.py

features: setup ## Fashion-MNIST through optical random features, in build/features (half an hour of one core)
	@$(PY) tools/features.py --cases all --gradients --device 'twin:?n=800&m=1000&bin=1&plant=dlp4500+imx255' \
		--plot $(OUT)/features.png --out $(OUT)/features

netlist: setup ## synthesise a small gateware, simulate what came out, and compare it with the twin
	@$(PY) tools/netlist.py --out $(OUT)/netlist

clean: ## what the verbs made, but .venv
	@rm -rf build .pytest_cache .hypothesis .mypy_cache .ruff_cache
