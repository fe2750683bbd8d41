"""package.xml names what the code imports."""

from __future__ import annotations

import ast
import re
from xml.etree import ElementTree

from tree_copy import ROOT

ROS_PACKAGE = re.compile(r"(ament_\w+|rcl\w+|launch\w*|\w+_msgs|\w+_interfaces|diagnostic_\w+|cv_bridge)$")


def imported_ros_packages() -> set[str]:
    files = [*(ROOT / "gps_denied_inference").rglob("*.py"), *(ROOT / "launch").glob("*.py")]
    names: set[str] = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return {name for name in names if ROS_PACKAGE.match(name)}


def declared_packages() -> set[str]:
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    return {element.text or "" for tag in ("depend", "exec_depend") for element in manifest.findall(tag)}


def test_every_imported_ros_package_is_declared() -> None:
    assert "rclpy" in imported_ros_packages()
    assert imported_ros_packages() - declared_packages() == set()


def test_version_is_the_same_everywhere() -> None:
    version = ElementTree.parse(ROOT / "package.xml").getroot().findtext("version")
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text()
    assert f'__version__ = "{version}"' in (ROOT / "gps_denied_inference" / "__init__.py").read_text()
