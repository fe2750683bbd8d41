"""How much nearer to the truth re-ranking and matching bring positions, and what became of every frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

__all__ = ["NodeAccounting", "NotRefined", "RefinementScore", "score_refinement"]


class NotRefined(Enum):
    """Why a frame's position stayed the centre of its best tile; the first that holds."""

    NO_FEATURES = "no local features came"
    NO_CANDIDATES = "no candidates came"
    SKIPPED = "a newer frame was ranked instead"
    REFUSED = "the re-ranking was refused"
    NOT_MATCHED = "no matches came"
    TOO_FEW_INLIERS = "too few inliers"


@dataclass(frozen=True, slots=True)
class NodeAccounting:
    """What became of the messages of one node, as it counted them itself.

    Attributes:
        name: what it does, for people.
        sent: to it.
        received, published, pending: as it counted them.
        dropped: by reason.
    """

    name: str
    sent: int
    received: int
    published: int
    dropped: Mapping[str, int]
    pending: int

    @property
    def lost_in_transport(self) -> int:
        """Messages that were sent and never reached it."""
        return self.sent - self.received

    def violations(self) -> list[str]:
        """Return what does not add up, in words."""
        found = []
        dropped = sum(self.dropped.values())
        if self.received != self.published + dropped + self.pending:
            found.append(
                f"{self.name}: received {self.received}, but published {self.published}, dropped {dropped} and holds "
                f"{self.pending}"
            )
        if self.lost_in_transport < 0:
            found.append(f"{self.name}: received {self.received}, not the {self.sent} that were sent")
        return found


@dataclass(frozen=True, slots=True)
class RefinementScore:
    """Positions from the homography to the best re-ranked tile, beside the centres of the first retrieved tiles.

    Attributes:
        frames: published ones.
        refined_frames: of them with a position by the homography.
        median_error_m, p90_error_m: of these; NaN without any.
        retrieved_median_error_m, retrieved_p90_error_m: of the same frames, by their first retrieved tile.
        not_refined: the other frames, by reason.
        reranked_frames: whose candidates were matched.
        changed_frames: of them where another tile than the most similar one matched best.
        nodes: what became of the messages of every node behind the first.
    """

    frames: int
    refined_frames: int
    median_error_m: float
    p90_error_m: float
    retrieved_median_error_m: float
    retrieved_p90_error_m: float
    not_refined: Mapping[NotRefined, int]
    reranked_frames: int
    changed_frames: int
    nodes: tuple[NodeAccounting, ...]

    @property
    def coverage(self) -> float:
        """Share of the published frames that were refined; NaN without frames."""
        return self.refined_frames / self.frames if self.frames else float("nan")

    def violations(self) -> list[str]:
        """Return what does not add up, in words; empty when every frame and every message is accounted for."""
        found = [problem for node in self.nodes for problem in node.violations()]
        counted = self.refined_frames + sum(self.not_refined.values())
        if counted != self.frames:
            found.append(f"{self.frames} frames were published; of {counted} it is known whether they were refined")
        return found


def score_refinement(
    outcomes: Iterable[tuple[float, float | None, NotRefined | None]],
    *,
    reranked_frames: int,
    changed_frames: int,
    nodes: tuple[NodeAccounting, ...],
) -> RefinementScore:
    """Score frames.

    Args:
        outcomes: of each published frame the error of its first tile, that of its refined position or None, and why
            there is none.
        reranked_frames, changed_frames, nodes: as of `RefinementScore`.
    """
    known = list(outcomes)
    pairs = np.array([(error, refined) for error, refined, _ in known if refined is not None], np.float64)
    errors = pairs.reshape(-1, 2).T
    (retrieved_median, median), (retrieved_p90, p90) = (
        (float("nan"), float("nan")) if not errors.size else tuple(np.percentile(errors, share, axis=1))
        for share in (50, 90)
    )
    return RefinementScore(
        frames=len(known),
        refined_frames=errors.shape[1],
        median_error_m=float(median),
        p90_error_m=float(p90),
        retrieved_median_error_m=float(retrieved_median),
        retrieved_p90_error_m=float(retrieved_p90),
        not_refined=dict(Counter(reason for _, refined, reason in known if refined is None and reason is not None)),
        reranked_frames=reranked_frames,
        changed_frames=changed_frames,
        nodes=nodes,
    )
