"""The committed requirement files pin everything."""

from __future__ import annotations

import re
import tomllib

from tree_copy import ROOT

PIN = re.compile(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.!]*( ; python_version < \"3\.\d+\")?")


def pins() -> dict[str, list[str]]:
    return {
        file.name: [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
        for file in sorted((ROOT / "requirements").glob("*.txt"))
    }


def test_every_line_is_an_exact_pin() -> None:
    loose = [line for lines in pins().values() for line in lines if not PIN.fullmatch(line)]
    assert pins()
    assert loose == []


def test_contributing_says_what_each_file_is_for() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text().split("## Pinned packages")[1]
    files = [name for row in re.findall(r"^\|(.*?)\|", table, re.MULTILINE) for name in re.findall(r"`(.+?)`", row)]
    assert sorted(files) == sorted(pins())


def test_no_package_is_pinned_twice() -> None:
    usual = {file: lines for file, lines in pins().items() if file != "opencv-with-system-numpy1.txt"}
    names = [line.partition("==")[0].lower().replace("_", "-") for lines in usual.values() for line in lines]
    assert sorted(names) == sorted(set(names))


def test_extras_pin_what_is_pinned_here() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    exact = {wish for wishes in extras.values() for wish in wishes if "==" in wish}
    assert exact and exact <= {line for lines in pins().values() for line in lines}


def test_installed_packages_are_all_pinned() -> None:
    log = ROOT / "build" / "setup_log" / "packages.txt"
    installed = re.search(r"Successfully installed (.*)", log.read_text())
    assert installed is not None, f"{log} tells of no installation"
    named = {line.partition("==")[0].lower().replace("_", "-") for lines in pins().values() for line in lines}
    found = {re.sub(r"-[0-9][^-]*$", "", word).lower().replace("_", "-") for word in installed.group(1).split()}
    # The CUDA build of torch pulls its libraries in the versions that its own metadata pins.
    unpinned = {name for name in found - named if not name.startswith(("nvidia-", "cuda-", "triton"))}
    assert unpinned == set()
