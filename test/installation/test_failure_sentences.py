"""What colcon and the system say when set-up fails becomes one sentence that says what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from environment import __main__ as setup
from environment.failure import SetupError
from environment.layout import Layout
from environment.ros_source import RosSource
from environment.workspace import build_workspace


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("error: could not write: No space left on device", r"The disk that holds {root} filled up .* make room"),
        ("fatal error: Python.h: No such file or directory", r"install them with 'sudo apt install python3-dev'"),
        ("Could NOT find Python3 (missing: Python3_INCLUDE_DIRS)", r"install them with 'sudo apt install python3-dev'"),
        ("g++: fatal error: Killed signal terminated program cc1plus", r"ran out of memory: close other programs"),
        ("error: something new", r"read {root}/build/setup_log/build.txt, mend what it names"),
    ],
)
def test_words_of_colcon_become_one_sentence(tmp_path: Path, words: str, sentence: str) -> None:
    layout = Layout(root=tmp_path)
    colcon = layout.venv / "bin" / "colcon"
    colcon.parent.mkdir(parents=True)
    colcon.write_text(f'#!/bin/sh\necho "$*"\necho "{words}" >&2\nexit 1\n')
    colcon.chmod(0o755)
    with pytest.raises(SetupError, match=sentence.format(root=tmp_path)) as caught:
        build_workspace(layout, RosSource(), has_colcon=False)
    text = str(caught.value)
    assert "\n" not in text and text.endswith((".", ").")) and "run again" in text
    log = (layout.logs / "build.txt").read_text()
    assert words in log and f"build --symlink-install --paths {tmp_path}" in log


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "The disk that holds {root} is full: make room and run again."),
        (errno.EACCES, "/some/file is not writable: make it so and run again."),
        (errno.EROFS, "/some/file is not writable: make it so and run again."),
        (errno.EIO, "The system refused a file operation ([Errno 5] Input/output error: '/some/file'): mend that"),
    ],
)
def test_refusal_of_the_system_becomes_one_sentence(
    number: int, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(_layout: Layout) -> None:
        raise OSError(number, os.strerror(number), "/some/file")

    monkeypatch.setattr(setup, "_set_up", refused)
    assert setup.main() == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("setup: " + sentence.format(root=Path(setup.__file__).resolve().parents[2]))
