"""From a network's outputs to features: finite, normalised as declared, in pixels of the original image."""

from gps_denied_inference.core.features.global_descriptor import global_descriptor_from_output
from gps_denied_inference.core.features.local_features import local_features_from_outputs

__all__ = ["global_descriptor_from_output", "local_features_from_outputs"]
