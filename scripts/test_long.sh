#!/bin/sh
# The long tests, and a dated record of their result; runs in the environment of env.sh.
day=$(date -u +%Y-%m-%d)
record=docs/measurements/test-long-$day.txt
mkdir -p docs/measurements build
{
    echo "make test-long, $day, commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
    echo "$(uname -sm), $(nproc) cores, $(python --version)"
    echo
} >"build/test-long-head.txt"
python -m pytest -m long --no-header --durations=0 -o console_output_style=classic >build/test-long.txt 2>&1 &
pytest=$!
trap 'kill -INT "$pytest" 2>/dev/null' INT TERM
tail --pid="$pytest" -n +1 -f build/test-long.txt
wait "$pytest"
status=$?
cat build/test-long-head.txt build/test-long.txt >"$record"
echo "The record is $record."
exit "$status"
