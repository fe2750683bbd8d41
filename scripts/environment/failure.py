"""The one error of the set-up."""

__all__ = ["SetupError"]


class SetupError(Exception):
    """A set-up step cannot go on; the message is one sentence that says what to do."""
