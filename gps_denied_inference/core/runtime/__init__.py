"""Runs networks: one protocol, several backends, each imported only when it is asked for."""

from gps_denied_inference.core.runtime.build_flags import BuildFlags
from gps_denied_inference.core.runtime.factory import create_runtime
from gps_denied_inference.core.runtime.image_inference import ImageInference, TakesImages
from gps_denied_inference.core.runtime.options import RuntimeOptions
from gps_denied_inference.core.runtime.protocol import InferenceRuntime

__all__ = ["BuildFlags", "ImageInference", "InferenceRuntime", "RuntimeOptions", "TakesImages", "create_runtime"]
