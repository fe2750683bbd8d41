"""The patch of the wheels' cmake files."""

from __future__ import annotations

from environment.cmake_paths import replace_build_machine_paths
from hypothesis import given
from hypothesis import strategies as st

EXPORTED = (
    'INTERFACE_INCLUDE_DIRECTORIES "/opt/python/cp312-cp312/lib/python3.12/site-packages/numpy/_core/include;'
    '/opt/python/cp312-cp312/include/python3.12;${_IMPORT_PREFIX}/include/std_msgs"'
)


def mended(text: str) -> str:
    return replace_build_machine_paths(text, numpy_include="/v/numpy/_core/include", python_include="/usr/include/py")


def test_both_paths_become_this_machines() -> None:
    assert mended(EXPORTED) == (
        'INTERFACE_INCLUDE_DIRECTORIES "/v/numpy/_core/include;/usr/include/py;${_IMPORT_PREFIX}/include/std_msgs"'
    )


def test_second_patch_changes_nothing() -> None:
    assert mended(mended(EXPORTED)) == mended(EXPORTED)


@given(st.text())
def test_text_without_the_build_machines_folder_is_kept(text: str) -> None:
    kept = text.replace("/opt/python", "")
    assert mended(kept) == kept
