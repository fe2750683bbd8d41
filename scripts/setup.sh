#!/bin/sh
# Finds a Python for the set-up and hands over to scripts/environment; needs nothing but a POSIX shell.
# PYTHON=... chooses the interpreter; otherwise the one of the last set-up, else the newest suitable one.
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE # leaked from another environment it would hide this one's libraries
root=$(cd "$(dirname "$0")/.." && pwd -P) || exit 1

fail() {
    printf 'setup: %s\n' "$1" >&2
    exit 1
}

is_suitable() {
    "$1" -S -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

is_complete() {
    "$1" -S -c '
import importlib.util as u, os, sys, sysconfig
header = os.path.join(sysconfig.get_path("include"), "Python.h")
sys.exit(not (u.find_spec("venv") and u.find_spec("ensurepip") and os.path.isfile(header)))' >/dev/null 2>&1
}

choose_python() {
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON" >/dev/null 2>&1 ||
            fail "PYTHON=$PYTHON is not a program: name an interpreter of Python 3.11, 3.12 or 3.13."
        is_suitable "$PYTHON" ||
            fail "PYTHON=$PYTHON is not Python 3.11, 3.12 or 3.13, the versions that ROS 2 Jazzy wheels exist for: name another."
        printf '%s\n' "$PYTHON"
        return
    fi
    last=$(sed -n 's/^executable = //p' "$root/.venv/pyvenv.cfg" 2>/dev/null)
    for candidate in "$last" python3.13 python3.12 python3.11 python3 python; do
        if [ -n "$candidate" ] && is_suitable "$candidate" && is_complete "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    # None is complete: the checks that follow say what the newest one lacks.
    for candidate in python3.13 python3.12 python3.11 python3 python; do
        if is_suitable "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "No Python 3.11, 3.12 or 3.13 was found: install one with 'sudo apt install python3 python3-dev python3-venv', or name one with 'make setup PYTHON=/path/to/python3.12'."
}

python=$(choose_python) || exit 1
PYTHONPATH_OF_CALLER=${PYTHONPATH:-}
export PYTHONPATH_OF_CALLER
unset PYTHONHOME
PYTHONPATH=$root/scripts exec "$python" -B -S -m environment "$@"
