"""Rows of the matching table: which features with which matcher, and how a pair goes through them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.cli.eval.networks import Weights, frame_from_rgb, network_settings, weights_obstacle
from gps_denied_inference.core.architectures import base_name, default_registry
from gps_denied_inference.core.assembly import assemble_matcher, assemble_pipeline
from gps_denied_inference.core.contracts import LocalFeatures, OutputKind
from gps_denied_inference.core.errors import EvaluationError
from gps_denied_inference.core.matching import match_mutual_nearest
from gps_denied_inference.core.pipeline import MatchingPipeline, Pipeline

__all__ = ["MUTUAL_NEAREST", "MatchRow", "PairMatcher", "all_rows", "open_matcher", "row_obstacle", "row_of_name"]

MUTUAL_NEAREST = "mutual_nearest"
MAX_KEYPOINTS = 1024
"""Of an image, for every row: what the matching networks take."""


@dataclass(frozen=True, slots=True)
class MatchRow:
    """A row: features and their matcher, or a network that matches images.

    Attributes:
        features: a network of local features; empty for a network that takes images.
        matcher: a network, or `mutual_nearest`.
    """

    features: str
    matcher: str

    @property
    def name(self) -> str:
        """As `--model` takes it."""
        return f"{self.features}+{self.matcher}" if self.features else self.matcher

    @property
    def networks(self) -> tuple[str, ...]:
        """Whose weights it needs."""
        return tuple(name for name in (self.features, self.matcher) if name and name != MUTUAL_NEAREST)


def all_rows() -> list[MatchRow]:
    """Every row that the registry makes: rows of equal features follow each other."""
    registry = default_registry()
    learned: dict[str, list[str]] = {}
    for matcher in registry:
        for features in registry.lookup(matcher).spec.feature_models:
            learned.setdefault(features, []).append(matcher)
    rows = []
    for name in registry:
        kind = registry.lookup(name).spec.output_kind
        if kind is OutputKind.LOCAL_FEATURES:
            rows.append(MatchRow(name, MUTUAL_NEAREST))
            rows += [MatchRow(name, matcher) for matcher in learned.get(name, [])]
        elif kind is OutputKind.CORRESPONDENCES:
            rows.append(MatchRow("", name))
    return rows


def row_of_name(text: str) -> MatchRow:
    """Read `FEATURES+MATCHER`, `FEATURES` (mutual nearest neighbours) or the name of a network that takes images.

    Raises:
        UnknownArchitectureError: a name that nobody registered.
        EvaluationError: the two don't belong together.
    """
    features, plus, matcher = text.partition("+")
    registry = default_registry()
    first = registry.lookup(features).spec
    if not plus and first.output_kind is OutputKind.CORRESPONDENCES:
        return MatchRow("", features)
    if first.output_kind is not OutputKind.LOCAL_FEATURES:
        raise EvaluationError(
            f"'{features}' gives {first.output_kind.value}; expected a network of local features with its matcher, "
            "e.g. xfeat+mutual_nearest, or one that matches images"
        )
    matcher = matcher or MUTUAL_NEAREST
    if matcher != MUTUAL_NEAREST:
        second = registry.lookup(matcher).spec
        if (second.output_kind, second.descriptor_dimension) != (OutputKind.MATCHES, first.descriptor_dimension):
            raise EvaluationError(
                f"'{matcher}' does not match features of {first.descriptor_dimension} dimensions, which '{features}' "
                f"gives; take {MUTUAL_NEAREST} or a matcher of its family"
            )
        if second.feature_models and base_name(features) not in second.feature_models:
            raise EvaluationError(
                f"'{matcher}' matches the features of {' or '.join(second.feature_models)}, not of '{features}'; "
                f"take {MUTUAL_NEAREST} or a matcher of its family"
            )
    return MatchRow(features, matcher)


def row_obstacle(row: MatchRow, options: argparse.Namespace) -> str:
    """Why a row cannot be measured with published weights; empty when it can."""
    return next(filter(None, (weights_obstacle(name, options) for name in row.networks)), "")


@dataclass(frozen=True, slots=True, eq=False)
class PairMatcher:
    """The networks of a row, loaded.

    Attributes:
        features: of one image; None for a matcher of images.
        matcher: None for mutual nearest neighbours.
        known: features of images seen before, by name.
    """

    features: Pipeline | None
    matcher: MatchingPipeline | None
    known: dict[str, LocalFeatures]

    def match(
        self, first_name: str, first_rgb: NDArray[np.uint8], second_name: str, second_rgb: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Pair points: two arrays (M, 2), pixels of the images."""
        if self.features is None:
            assert self.matcher is not None
            found = self.matcher.match_images(frame_from_rgb(first_rgb), frame_from_rgb(second_rgb))
            return found.first_px, found.second_px
        first = self._features(self.features, first_name, first_rgb)
        second = self._features(self.features, second_name, second_rgb)
        matches = (
            match_mutual_nearest(first, second) if self.matcher is None else self.matcher.match_features(first, second)
        )
        return first.keypoints_px[matches.indices[:, 0]], second.keypoints_px[matches.indices[:, 1]]

    def _features(self, pipeline: Pipeline, name: str, image_rgb: NDArray[np.uint8]) -> LocalFeatures:
        if name not in self.known:
            features = pipeline.process(frame_from_rgb(image_rgb)).features
            assert isinstance(features, LocalFeatures)
            self.known[name] = features
        return self.known[name]


@contextmanager
def open_matcher(
    row: MatchRow, weights: Weights, options: argparse.Namespace, known: dict[str, LocalFeatures]
) -> Iterator[PairMatcher]:
    """Load the networks of a row for as long as it is measured.

    Args:
        known: features of the images with the same network and weights, from another row.
    """
    with ExitStack() as stack:
        features = matcher = None
        if row.features:
            settings = stack.enter_context(network_settings(row.features, weights, options, top_k=MAX_KEYPOINTS))
            features = stack.enter_context(assemble_pipeline(settings))
        if row.matcher != MUTUAL_NEAREST:
            settings = stack.enter_context(network_settings(row.matcher, weights, options))
            matcher = stack.enter_context(assemble_matcher(settings))
        yield PairMatcher(features, matcher, known)
