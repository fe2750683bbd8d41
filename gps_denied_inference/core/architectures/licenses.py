"""Licences of weights: free ones are used as they are, others only when somebody has accepted them by name."""

from __future__ import annotations

from collections.abc import Collection

from gps_denied_inference.core.contracts import ArchitectureSpec
from gps_denied_inference.core.errors import LicenseNotAcceptedError

__all__ = ["require_accepted_license"]


def require_accepted_license(name: str, spec: ArchitectureSpec, accepted_licenses: Collection[str]) -> None:
    """Refuse weights whose licence restricts their use, unless it was accepted.

    Args:
        name: of the network, for the message.
        spec: of the network.
        accepted_licenses: names, as `ArchitectureSpec.license` spells them.

    Raises:
        LicenseNotAcceptedError: says what the licence forbids and how to accept it.
    """
    if spec.license_restriction and spec.license not in accepted_licenses:
        raise LicenseNotAcceptedError(
            f"the weights of '{name}' are under {spec.license}: {spec.license_restriction}. Read the licence at "
            f"{spec.weights.url if spec.weights else 'their origin'}; if your use agrees with it, accept it with "
            f"accepted_licenses: [{spec.license}] (settings) or --accept-license {spec.license} (gdi)"
        )
