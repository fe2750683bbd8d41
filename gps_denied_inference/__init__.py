"""Onboard perception inference for UAVs that fly without GPS.

Two floors: `core` turns images into features and knows no ROS; `ros` holds the lifecycle nodes.
`cli` is the program `gdi`.
"""

# The generated messages live in a second directory of the same package name (`gps_denied_inference.msg`). A source
# checkout on sys.path would hide them without this line.
__path__ = __import__("pkgutil").extend_path(__path__, __name__)

__version__ = "0.1.0"

__all__ = ["__version__"]
