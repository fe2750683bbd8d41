"""Records of the core's Python loggers, written through the node's logger."""

from __future__ import annotations

import logging
from typing import Any

__all__ = ["LogBridge"]

_ROOT = "gps_denied_inference"


class LogBridge(logging.Handler):
    """Forwards `gps_denied_inference.*` records to rclpy. Attach with `install`, detach with `remove`.

    Args:
        logger: the node's rclpy logger.
    """

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def install(self, *, is_debug: bool) -> None:
        """Attach to the package's root logger.

        Args:
            is_debug: let DEBUG records through, whatever the process's log level is.
        """
        root = logging.getLogger(_ROOT)
        root.setLevel(logging.DEBUG if is_debug else logging.INFO)
        if is_debug:
            self._logger.set_level(10)  # rclpy's DEBUG; its enum is 10, 20, 30, 40 like Python's
        if self not in root.handlers:
            root.addHandler(self)

    def remove(self) -> None:
        """Detach. Idempotent."""
        logging.getLogger(_ROOT).removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)
