"""Which nodes refine positions, and what was seen of them."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["RefinementLog", "RefinementTopics"]


@dataclass(frozen=True, slots=True)
class RefinementTopics:
    """Where the nodes are.

    Attributes:
        features: `LocalFeatures` of the images.
        features_health: `EngineHealth` of the engine that publishes them.
        candidates: `PlaceCandidates`.
        rerank: service that orders them.
        reranked: where the new order is published, for the matcher.
        matches: `FeatureMatches` of the matcher.
        tasks: of the diagnostics, whose counters are read.
    """

    features: str
    features_health: str
    candidates: str
    rerank: str
    reranked: str
    matches: str
    tasks: tuple[str, ...]


@dataclass(slots=True)
class RefinementLog:
    """What was seen and done, by stamp of the image.

    Attributes:
        featured, candidates: images of which features, and candidates, came.
        ranked: rows of the tiles, best first; empty where the service refused.
        refusals: what it said.
        matched: images of which matches came.
    """

    featured: set[int] = field(default_factory=set)
    candidates: set[int] = field(default_factory=set)
    ranked: dict[int, tuple[int, ...]] = field(default_factory=dict)
    refusals: dict[int, str] = field(default_factory=dict)
    matched: set[int] = field(default_factory=set)
