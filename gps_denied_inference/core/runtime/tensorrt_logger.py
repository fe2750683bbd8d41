"""What TensorRT says: kept, so that its own sentence can be the cause of our errors."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from functools import cache
from typing import Any

__all__ = ["TensorrtReportedError", "collected_sentences", "process_logger"]

_LOGGER = logging.getLogger("gps_denied_inference.runtime.tensorrt")
_MOST = 50  # sentences of one step; a broken model can bring one for each node


class TensorrtReportedError(RuntimeError):
    """TensorRT's own sentences; only ever the cause of an error of our family.

    Attributes:
        sentences: in the order in which it said them.
    """

    def __init__(self, sentences: list[str]) -> None:
        super().__init__("\n".join(sentences) or "TensorRT gave no reason")
        self.sentences = tuple(sentences)

    @property
    def first(self) -> str:
        """What went wrong; later sentences tend to be consequences."""
        return self.sentences[0] if self.sentences else str(self)

    @property
    def is_out_of_memory(self) -> bool:
        marks = ("out of memory", "outofmemory", "cudaerrormemoryallocation")
        return any(mark in sentence.lower() for sentence in self.sentences for mark in marks)


@cache
def process_logger(module: Any) -> Any:
    """Return the logger of a TensorRT module. TensorRT keeps the first that it is given for the whole process."""
    severities = module.ILogger
    levels = {
        severities.INTERNAL_ERROR: logging.ERROR,
        severities.ERROR: logging.ERROR,
        severities.WARNING: logging.WARNING,
    }

    class ProcessLogger(module.ILogger):
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.collectors: list[list[str]] = []

        def log(self, severity: Any, msg: str) -> None:
            level = levels.get(severity)
            if level is None:
                return
            # Errors are told by what we raise; here they are for whoever looks closely.
            _LOGGER.log(logging.DEBUG if level == logging.ERROR else level, "%s", msg)
            if level == logging.ERROR:
                for sentences in list(self.collectors):
                    if len(sentences) < _MOST:
                        sentences.append(msg)

    return ProcessLogger()


@contextlib.contextmanager
def collected_sentences(logger: Any) -> Iterator[list[str]]:
    """Collect the errors that TensorRT tells meanwhile, from whichever thread: it builds in several."""
    sentences: list[str] = []
    logger.collectors.append(sentences)
    try:
        yield sentences
    finally:
        # By identity: two empty lists are equal.
        logger.collectors[:] = [item for item in logger.collectors if item is not sentences]
