"""Service `~/load_engine`: another engine takes the place of the present one while the node works."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future

import gps_denied_inference.srv as services
from gps_denied_inference.core.contracts import PrecisionMode, RuntimeLabel
from gps_denied_inference.core.errors import (
    EngineFidelityError,
    GpsDeniedInferenceError,
    InferenceError,
    SettingsError,
)
from gps_denied_inference.core.health import fidelity_summary
from gps_denied_inference.core.pipeline import ModelIdentity, Pipeline
from gps_denied_inference.core.settings import Settings
from gps_denied_inference.ros.hosted_engine import HostedEngine

__all__ = ["EngineReplacement"]

_HISTORY = 5
"""How many outcomes the diagnostics show."""


class EngineReplacement:
    """Loads, warms and checks the new engine on a thread of its own, beside the old one, which works on.

    Args:
        node: owns the service.
        engines: of the node by name, the first one being meant where a request names none.
        load: makes the pipeline of one engine of these settings; called on the loading thread.
        tell_model: publishes what an engine runs now, and which runtime the settings ask for; called on the
            executor's thread.
    """

    def __init__(
        self,
        node: Node,
        engines: Mapping[str, HostedEngine],
        *,
        load: Callable[[Settings, str], Pipeline],
        tell_model: Callable[[str, ModelIdentity, str], None],
    ) -> None:
        self._node = node
        self._engines = engines
        self._load = load
        self._tell_model = tell_model
        self._history: dict[str, list[str]] = {name: [] for name in engines}
        self._is_loading = False
        # A group of its own: while the answer is pending, the node's default group would take no images.
        group = ReentrantCallbackGroup()
        node.create_service(services.LoadEngine, "~/load_engine", self._answer, callback_group=group)

    def history(self, engine: str) -> Sequence[str]:
        """Outcomes of the last requests for an engine, oldest first."""
        return tuple(self._history[engine])

    async def _answer(self, request: Any, response: Any) -> Any:
        name = request.engine or next(iter(self._engines))
        engine = self._engines.get(name)
        try:
            if engine is None:
                raise SettingsError("engine", request.engine, "one of " + ", ".join(self._engines))
            message = await self._replace(engine, request)
            response.success = True
            self._node.get_logger().info(message)
        except GpsDeniedInferenceError as error:
            response.success = False
            message = f"{error}; the present engine stays"
            self._node.get_logger().error(f"load_engine refused: {message}")
        except Exception as error:  # whatever a backend throws: the old engine works on, and the caller is told
            response.success = False
            message = f"{type(error).__name__}: {error}; the present engine stays"
            self._node.get_logger().error(f"load_engine failed: {message}")
        response.message = message
        present = None if engine is None else engine.model
        response.space_id = "" if present is None else present.space_id
        response.engine_sha256 = "" if present is None else present.engine_sha256
        if engine is not None:
            self._remember(name, message)
        return response

    async def _replace(self, engine: HostedEngine, request: Any) -> str:
        settings = engine.settings
        present = None if engine.pipeline is None else engine.pipeline.model
        if settings is None or present is None:
            raise SettingsError("load_engine", request.engine, "a configured node; configure it first")
        if self._is_loading:
            raise SettingsError("load_engine", request.engine, "one request at a time; wait for the answer to the last")
        wanted = _changed(settings, engine.name, request)
        done: Any = Future()

        def work() -> None:
            try:
                self._load_and_install(engine, wanted, present, allow_other_space=bool(request.allow_other_space))
            except BaseException as error:
                done.set_result(error)
            else:
                done.set_result(None)

        self._is_loading = True
        try:
            threading.Thread(target=work, name="load_engine", daemon=True).start()
            error = await done
        finally:
            self._is_loading = False
        if error is not None:
            raise error
        in_work = engine.model
        if in_work is not None:
            self._tell_model(engine.name, in_work, engine.requested_runtime)
        now = None if engine.pipeline is None else engine.pipeline.model
        if now is None:
            raise InferenceError("the new engine was taken out again at once: it hung, or the node was cleaned up")
        text = f"{now.name} ({now.runtime_label.value}, {now.engine_file}) took the place of {present.engine_file}"
        return text if now.fidelity is None else f"{text}; fidelity against FP32: {fidelity_summary(now.fidelity)}"

    def _load_and_install(
        self, engine: HostedEngine, wanted: Settings, present: ModelIdentity, *, allow_other_space: bool
    ) -> None:
        pipeline = self._load(wanted, engine.name)
        try:
            model = pipeline.model
            if model.spec.output_kind is not present.spec.output_kind:
                raise SettingsError(
                    "model", model.name, f"a network that gives a {present.spec.output_kind.value}, as the present one"
                )
            if model.space_id != present.space_id and not allow_other_space:
                raise EngineFidelityError(
                    f"the new engine's descriptors live in space {model.space_id}, the present ones in "
                    f"{present.space_id}: they cannot be compared; set allow_other_space when the map is of the new one"
                )
            engine.install(pipeline, wanted)
        except BaseException:
            pipeline.close()
            raise

    def _remember(self, engine: str, outcome: str) -> None:
        history = self._history[engine]
        history.append(f"{datetime.now(UTC):%H:%M:%S} UTC: {outcome}")
        del history[:-_HISTORY]


def _changed(settings: Settings, name: str, request: Any) -> Settings:
    """Return the settings with what the request names changed in the engine of this name."""
    engine = settings.engine(name)
    changes: dict[str, Any] = {"engine_file": request.engine_file}
    if request.model:
        changes["model"] = request.model
    if request.runtime:
        changes["runtime"] = _member(RuntimeLabel, "runtime", request.runtime)
    if request.precision:
        changes["precision"] = _member(PrecisionMode, "precision", request.precision)
    if request.checkpoint:
        if settings.engine_store is not None and changes.get("runtime", engine.runtime) is not RuntimeLabel.FAKE:
            raise SettingsError(
                "checkpoint",
                request.checkpoint,
                "empty, since this node has an engine_store; name an engine_file of it",
            )
        changes["checkpoint"] = Path(request.checkpoint).expanduser()
    changed = replace(engine, **changes)
    return replace(settings, engines=tuple(changed if item is engine else item for item in settings.engines))


def _member(kind: type[Any], field: str, value: str) -> Any:
    try:
        return kind(value)
    except ValueError:
        allowed = "one of " + ", ".join(repr(member.value) for member in kind)
        raise SettingsError(field, value, allowed) from None
