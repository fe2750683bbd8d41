"""A model identity for tests that need one and look at none of it."""

from gps_denied_inference.core.architectures import default_registry
from gps_denied_inference.core.contracts import EffectiveConfiguration, PrecisionMode, RuntimeLabel
from gps_denied_inference.core.pipeline import ModelIdentity

__all__ = ["model_identity"]


def model_identity(name: str = "efficientnet_lite0_grid") -> ModelIdentity:
    configuration = EffectiveConfiguration(PrecisionMode.FP32, PrecisionMode.FP32, "cpu", "cpu", "torch")
    spec = default_registry().lookup(name).spec
    return ModelIdentity("primary", name, "ab" * 32, spec, RuntimeLabel.FAKE, configuration, is_gated=False)
