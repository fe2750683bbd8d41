"""Where every frame of a replay went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ReplayAccounting"]


@dataclass(frozen=True, slots=True)
class ReplayAccounting:
    """Counts of one replay, from three witnesses: the player, the node's own ledger and the recorder.

    Attributes:
        frames_in: images that the player sent.
        frames_received: images that the node counted in.
        frames_published: messages that the node counted out.
        frames_dropped: by reason, as the node counted them; every reason is listed.
        frames_pending: neither, when the node was last heard.
        messages_recorded: distinct stamps that the recorder holds.
    """

    frames_in: int
    frames_received: int
    frames_published: int
    frames_dropped: Mapping[str, int]
    frames_pending: int
    messages_recorded: int

    @property
    def frames_lost_in_transport(self) -> int:
        """Images that were sent and never reached the node."""
        return self.frames_in - self.frames_received

    def violations(self) -> list[str]:
        """Return what does not add up, in words; empty when every frame is accounted for."""
        found = []
        dropped = sum(self.frames_dropped.values())
        if self.frames_received != self.frames_published + dropped + self.frames_pending:
            found.append(
                f"the node received {self.frames_received} frames but published {self.frames_published}, dropped "
                f"{dropped} and holds {self.frames_pending}"
            )
        if self.frames_pending:
            found.append(f"{self.frames_pending} frames were still pending at the end")
        if self.frames_lost_in_transport < 0:
            found.append(f"the node received {self.frames_received} frames, not the {self.frames_in} that were sent")
        if self.messages_recorded != self.frames_published:
            found.append(f"the node published {self.frames_published} messages, {self.messages_recorded} were recorded")
        return found
