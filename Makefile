.DEFAULT_GOAL := help
.PHONY: help setup lint test test-long faults demo bench bench-gpu clean

SHELL := /bin/sh
in_environment = . ./env.sh &&
# What must not wait for a processor that another test holds. All others run three at a time; when a test brings its
# process down the run ends (a restarted one waits for ever).
alone = test/ros/test_node_overload.py test/ros/test_node_degradation.py test/ros/test_node_hang.py

help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 18

setup: ## Install and build everything into this folder (PYTHON=... chooses the interpreter)
	@PYTHON='$(PYTHON)' sh scripts/setup.sh

lint: setup ## Style, types and the layers of the package
	@$(in_environment) sh scripts/lint.sh

test: lint ## Lint and all tests but the long ones
	@$(in_environment) python -m pytest -n 3 --dist loadfile --max-worker-restart=0 $(alone:%=--ignore=%)
	@$(in_environment) python -m pytest $(alone)

test-long: setup ## What takes longer; writes a dated record to docs/measurements
	@$(in_environment) sh scripts/test_long.sh

faults: setup ## Put every fault to the nodes and write docs/faults.md anew
	@$(in_environment) rm -rf build/faults && python -m pytest test/ros/faults && cp build/faults.md docs/faults.md

demo: setup ## Fly over a real orthophoto, replay it to the node, write build/demo/report.html
	@$(in_environment) gdi demo

bench: setup ## Measure each step beside its limit and a naive way; writes build/bench/report.json
	@$(in_environment) gdi bench

bench-gpu: setup ## The parts that have something to measure on a GPU, there; skipped without one
	@$(in_environment) gdi bench --gpu

clean: ## Remove everything that setup, tests and the demo made
	rm -rf .venv build install log .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
