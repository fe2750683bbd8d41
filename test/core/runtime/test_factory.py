from __future__ import annotations

import subprocess
import sys

import pytest

from gps_denied_inference.core.contracts import RuntimeLabel
from gps_denied_inference.core.errors import RuntimeNotAvailableError
from gps_denied_inference.core.runtime import BuildFlags, InferenceRuntime, RuntimeOptions, create_runtime
from gps_denied_inference.core.runtime.build_flags import BUILD_FLAG_NAMES

ALL = frozenset(RuntimeLabel)


def create(
    label: RuntimeLabel, *, enabled: frozenset[RuntimeLabel] = ALL, flags: BuildFlags | None = None
) -> InferenceRuntime:
    return create_runtime(label, enabled=enabled, build_flags=flags or BuildFlags(), options=RuntimeOptions())


@pytest.mark.parametrize("label", RuntimeLabel)
def test_label_makes_its_runtime(label: RuntimeLabel) -> None:
    assert create(label).current_runtime_label() == label.value


@pytest.mark.parametrize("label", RuntimeLabel)
def test_runtime_that_settings_do_not_enable_is_refused(label: RuntimeLabel) -> None:
    with pytest.raises(RuntimeNotAvailableError, match="enabled_runtimes"):
        create(label, enabled=ALL - {label})


@pytest.mark.parametrize("label", list(BUILD_FLAG_NAMES))
def test_runtime_that_was_not_built_is_refused_first(label: RuntimeLabel) -> None:
    with pytest.raises(RuntimeNotAvailableError, match=f"{BUILD_FLAG_NAMES[label]} is OFF"):
        create(label, enabled=frozenset(), flags=BuildFlags(ALL - {label}))


def test_runtime_whose_flag_is_off_is_never_imported() -> None:
    program = """
import sys
from gps_denied_inference.core.contracts import RuntimeLabel
from gps_denied_inference.core.errors import RuntimeNotAvailableError
from gps_denied_inference.core.runtime import BuildFlags, RuntimeOptions, create_runtime
try:
    create_runtime(RuntimeLabel.PYTORCH_FP16, enabled=frozenset(RuntimeLabel), build_flags=BuildFlags.load(),
                   options=RuntimeOptions())
except RuntimeNotAvailableError:
    print("refused", "gps_denied_inference.core.runtime.pytorch_fp16" in sys.modules, "torch" in sys.modules)
"""
    import os

    finished = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "BUILD_PYTORCH_FP16_RUNTIME": "OFF"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.stdout.split() == ["refused", "False", "False"], finished.stderr
