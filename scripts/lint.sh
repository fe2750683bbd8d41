#!/bin/sh
# Style, formatting, types and the layers of the package; runs in the environment of env.sh.
set -e
ruff check --quiet .
ruff format --check --quiet .
mypy
lint-imports --no-logo
