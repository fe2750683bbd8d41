"""A lifecycle node whose transitions cannot kill it and never fail silently.

rclpy 7 turns an exception in a transition into ERROR without a word, and lets the exception of an impossible transition
(`activate` of an unconfigured node) leave the executor. Both are mended here, once.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from gps_denied_inference.core.errors import GpsDeniedInferenceError
from gps_denied_inference.ros.manager_bond import ManagerBond

__all__ = ["GuardedLifecycleNode"]


class GuardedLifecycleNode(LifecycleNode):
    """Subclasses fill the steps `configure`, `activate`, `deactivate` and `release`; each may raise.

    An error of our family in `configure` or `activate` is a FAILURE (the node stays where it was), any other exception
    an ERROR (the node cleans up and is unconfigured; a network that does not return even then leaves it finalized, and
    its memory is given back when the process ends). All are logged with their causes.
    """

    def __init__(self, name: str, **node_options: Any) -> None:
        super().__init__(name, **node_options)
        self._manager_bond = ManagerBond(self)
        self._configure_error = ""
        """Why the last configure was refused; for the diagnostics."""

    @property
    def is_bond_enabled(self) -> bool:
        """Whether a bond to the lifecycle manager is formed while the node is active."""
        return False

    def configure(self) -> None:
        """Load everything. What was loaded is released when it raises."""

    def activate(self) -> None:
        """Begin to work."""

    def deactivate(self) -> None:
        """Stop working; nothing is in work when it returns."""

    def release(self) -> None:
        """Give back all that `configure` took. Idempotent; called in any state."""

    @property
    def lifecycle_state(self) -> str:
        """Current primary state (or transition) by its ROS label."""
        return str(self._state_machine.current_state[1])

    def destroy_node(self) -> None:
        self._manager_bond.end()
        super().destroy_node()
        # rclpy leaves it to the garbage collector; until then five services stay found that nobody answers.
        self._state_machine.destroy_when_not_in_use()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = self._guarded("configure", self._configure_with_reason)
        if result is not TransitionCallbackReturn.SUCCESS:
            self._guarded("cleanup after configure", self.release)
        else:
            result = super().on_configure(state)
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        # The publishers first: the first frame may be done before this returns.
        result = super().on_activate(state)
        if result is not TransitionCallbackReturn.SUCCESS:
            return result
        result = self._guarded("activate", self.activate)
        if result is TransitionCallbackReturn.SUCCESS and self.is_bond_enabled:
            # The manager begins to look for it when this transition has been answered.
            result = self._guarded("bond", self._manager_bond.form)
        if result is not TransitionCallbackReturn.SUCCESS:
            self._guarded("deactivate after activate", self.deactivate)  # what had begun before the failure
            super().on_deactivate(state)
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        # First: a manager that waits for the frame in work must not take the node for dead.
        self._guarded("end of bond", self._manager_bond.end)
        result = self._guarded("deactivate", self.deactivate)
        super().on_deactivate(state)
        # There is no way back to active: a worker that cannot be stopped is an error, not a refusal.
        return result if result is TransitionCallbackReturn.SUCCESS else TransitionCallbackReturn.ERROR

    def on_cleanup(self, _state: LifecycleState) -> TransitionCallbackReturn:
        result = self._guarded("cleanup", self.release)
        self._forget_destroyed()
        return result

    def on_shutdown(self, _state: LifecycleState) -> TransitionCallbackReturn:
        return self._guarded("shutdown", self._stop)

    def on_error(self, _state: LifecycleState) -> TransitionCallbackReturn:
        result = self._guarded("error processing", self._stop)
        self._forget_destroyed()
        return result

    def _configure_with_reason(self) -> None:
        self._configure_error = ""
        try:
            if self.is_bond_enabled:
                self._manager_bond.check()
            self.configure()
        except GpsDeniedInferenceError as error:
            self._configure_error = str(error)
            raise

    def _stop(self) -> None:
        self._guarded("end of bond", self._manager_bond.end)
        try:
            self.deactivate()
        finally:
            self.release()

    def _forget_destroyed(self) -> None:
        """Give back what only cycles of references and rclpy's callback group still hold of destroyed parts.

        Left alone, some 8 kB a cycle wait for Python's rare full collection, and 0.7 kB are never given back: rclpy's
        group keeps a weak reference to everything that was ever in it.
        """
        gc.collect()
        group = self.default_callback_group
        group.entities = {reference for reference in group.entities if reference() is not None}

    def _guarded(self, name: str, step: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            step()
        except GpsDeniedInferenceError as error:
            self.get_logger().error(f"{name} failed: {_with_causes(error)}")
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            self.get_logger().error(f"{name} failed unexpectedly: {_with_causes(error)}\n{traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    # Name-mangled on purpose: this is the one place that every transition goes through, by service or by trigger, and
    # rclpy offers no hook before it. Checked by a test that asks for every impossible transition.
    def _LifecycleNodeMixin__change_state(self, transition_id: int) -> TransitionCallbackReturn:  # noqa: N802
        possible = {entry[0]: entry[1] for entry in self._state_machine.available_transitions}
        if transition_id not in possible:
            names = ", ".join(sorted(possible.values())) or "none"
            self.get_logger().error(
                f"transition {transition_id} is not possible in state '{self.lifecycle_state}'; possible: {names}"
            )
            return TransitionCallbackReturn.FAILURE
        change_state: Any = super()._LifecycleNodeMixin__change_state
        return change_state(transition_id)


def _with_causes(error: BaseException) -> str:
    """The error and its causes in one line, the outermost first."""
    texts: list[str] = []
    current: BaseException | None = error
    while current is not None:
        # The first line says it; torch goes on with advice that is wrong for an aircraft (weights_only=False).
        text = (str(current).splitlines() or [type(current).__name__])[0]
        if not texts or text not in texts[-1]:
            texts.append(f"{type(current).__name__}: {text}" if texts else text)
        current = current.__cause__
    return " <- ".join(texts)
