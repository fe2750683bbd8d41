"""The same Python code as an ordinary pip package, for machines without ROS: the core and the program gdi."""

from setuptools import find_packages, setup

# The message definitions stand once, in msg/, where ROS wants them; here they are data of the package.
INTERFACE_FILES = "gps_denied_inference.core.interface_files"

setup(
    packages=[*find_packages(include=["gps_denied_inference", "gps_denied_inference.*"]), INTERFACE_FILES],
    package_dir={INTERFACE_FILES: "msg"},
    package_data={
        INTERFACE_FILES: ["*.msg"],
        "": ["py.typed", "*.json", "*.npz", "*.yaml", "*.html", "*.css", "*.js"],
    },
)
