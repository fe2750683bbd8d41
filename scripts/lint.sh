#!/bin/sh
# Style, formatting, types and the layers of the package; runs in the environment of env.sh.
set -e
ruff check .
ruff format --check .
mypy
lint-imports --no-timings 2>/dev/null || lint-imports
