"""Networks by name. Torch-free: a factory is resolved when its network is first built."""

from __future__ import annotations

import difflib
import importlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from gps_denied_inference.core.architectures.install_commands import install_command
from gps_denied_inference.core.contracts import ArchitectureSpec
from gps_denied_inference.core.errors import (
    DuplicateArchitectureError,
    GpsDeniedInferenceError,
    RegistryError,
    RuntimeNotAvailableError,
    UnknownArchitectureError,
)

if TYPE_CHECKING:
    import torch

    StateDict = Mapping[str, torch.Tensor]
    ModuleFactory = Callable[[], torch.nn.Module]
    StateDictConverter = Callable[[StateDict], dict[str, torch.Tensor]]

__all__ = ["ENTRY_POINT_GROUP", "ArchitectureEntry", "ArchitectureRegistry", "base_name", "sized_name"]

ENTRY_POINT_GROUP = "gps_denied_inference.architectures"

_LOGGER = logging.getLogger("gps_denied_inference.architectures")
_NAME = re.compile(r"[a-z0-9_]+")
_SIZED_NAME = re.compile(r"(?P<base>.+)_(?P<height>\d{2,4})x(?P<width>\d{2,4})")


def sized_name(name: str, height: int, width: int) -> str:
    """Name of a network at another input size, e.g. `xfeat_288x384`; replaces the size that `name` may end with."""
    return f"{base_name(name)}_{height}x{width}"


def base_name(name: str) -> str:
    """Name of a network without the input size that it may end with."""
    match = _SIZED_NAME.fullmatch(name)
    return match["base"] if match else name


@dataclass(frozen=True, slots=True)
class ArchitectureEntry:
    """One registered network.

    Attributes:
        name: lower-case letters, digits and underscores.
        factory: callable without arguments that returns the network, or its place as `module:attribute`.
        spec: what is known of the network without building it.
        converter: brings the keys of a published checkpoint to those of the network; None when they agree.
            A callable, or its place as `module:attribute`.
    """

    name: str
    factory: ModuleFactory | str
    spec: ArchitectureSpec
    converter: StateDictConverter | str | None = None

    def build(self) -> torch.nn.Module:
        """Make the network, with untrained weights.

        Raises:
            RuntimeNotAvailableError: a package that the network needs is absent; names it and the install command.
            RegistryError: the factory's place does not exist, or the factory failed.
        """
        factory = self._resolve(self.factory)
        try:
            module: torch.nn.Module = factory()
        except GpsDeniedInferenceError:
            raise
        except ImportError as error:
            raise self._missing_package(error) from error
        return module

    def convert(self, state_dict: StateDict) -> dict[str, torch.Tensor]:
        """Bring a checkpoint's keys to those of the network; nothing is added, and only declared parts are dropped.

        Raises:
            RuntimeNotAvailableError, RegistryError: as `build`.
        """
        if self.converter is None:
            return dict(state_dict)
        converted: dict[str, torch.Tensor] = self._resolve(self.converter)(state_dict)
        return converted

    def _resolve(self, target: Any) -> Any:
        if not isinstance(target, str):
            return target
        module_name, _, attribute = target.partition(":")
        try:
            return getattr(importlib.import_module(module_name), attribute)
        except ImportError as error:
            raise self._missing_package(error) from error
        except AttributeError as error:
            raise RegistryError(
                f"architecture '{self.name}' names '{target}', but module '{module_name}' has no '{attribute}'; "
                "correct the registration"
            ) from error

    def _missing_package(self, error: ImportError) -> RuntimeNotAvailableError:
        package = (error.name or "unknown").split(".")[0]
        return RuntimeNotAvailableError(
            f"architecture '{self.name}' needs the Python package '{package}', which cannot be imported here "
            f"({error}); install it with: {install_command(package)}"
        )


class ArchitectureRegistry:
    """Networks by name. Iterating gives the names in alphabetical order."""

    def __init__(self) -> None:
        self._entries: dict[str, ArchitectureEntry] = {}
        self._broken_plugins: dict[str, str] = {}

    def register(
        self,
        name: str,
        factory: ModuleFactory | str,
        *,
        spec: ArchitectureSpec,
        converter: StateDictConverter | str | None = None,
    ) -> ArchitectureEntry:
        """Add a network; the same registration again changes nothing.

        Args:
            name: lower-case letters, digits and underscores.
            factory: makes the network, or its place as `module:attribute`.
            spec: what is known of the network.
            converter: brings a checkpoint's keys to the network's; or its place; or None.

        Raises:
            RegistryError: the name or the factory's place is malformed.
            DuplicateArchitectureError: the name is taken by a registration that differs.
        """
        if not _NAME.fullmatch(name):
            raise RegistryError(
                f"architecture name {name!r} is malformed; use lower-case letters, digits and underscores only"
            )
        for target in (factory, converter):
            if isinstance(target, str) and not all(target.partition(":")):
                raise RegistryError(f"architecture '{name}' names {target!r}; write it as 'package.module:attribute'")
        entry = ArchitectureEntry(name, factory, spec, converter)
        present = self._entries.setdefault(name, entry)
        if present != entry:
            raise DuplicateArchitectureError(
                f"architecture '{name}' is registered already, with factory {present.factory!r}; the new one has "
                f"{factory!r} (or another spec or converter). Choose another name"
            )
        return present

    def lookup(self, name: str) -> ArchitectureEntry:
        """Return the entry of this name, or of a registered network at another input size: `xfeat_288x384`.

        Raises:
            UnknownArchitectureError: nobody registered it; names near matches, and plugins that failed to load. Or the
                network does not take that size.
        """
        try:
            return self._entries[name]
        except KeyError:
            pass
        sized = _SIZED_NAME.fullmatch(name)
        if sized is not None and sized["base"] in self._entries:
            return _at_size(self._entries[sized["base"]], name, int(sized["height"]), int(sized["width"]))
        near = difflib.get_close_matches(name, self._entries, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "nothing similar is registered."
        known = ", ".join(self) or "none"
        message = f"no architecture is named {name!r}; {hint} Registered: {known}"
        for plugin, reason in self._broken_plugins.items():
            message += f". Plugin '{plugin}' failed to load and may be the one that has it: {reason}"
        raise UnknownArchitectureError(message)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def load_modules(self, module_names: Iterable[str]) -> None:
        """Let modules named in the settings register their networks: each has a function `register(registry)`.

        Raises:
            RegistryError: a module cannot be imported, has no `register`, or its `register` failed.
        """
        for module_name in module_names:
            try:
                importlib.import_module(module_name).register(self)
            except RegistryError:
                raise
            except Exception as error:
                raise RegistryError(
                    f"architecture module '{module_name}' could not register its networks "
                    f"({type(error).__name__}: {error}); it must be importable and have a function register(registry)"
                ) from error

    def load_entry_points(self) -> None:
        """Let installed packages register their networks, through entry points of `ENTRY_POINT_GROUP`.

        Each resolves to a callable that takes the registry. One that fails is logged and remembered, and does not stop
        the others: whoever asks for a network that is missing because of it is told.
        """
        for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: (point.name, point.value)):
            try:
                point.load()(self)
            except Exception as error:  # a stranger's code: whatever it raises must not break ours
                self._broken_plugins[point.name] = f"{type(error).__name__}: {error}"
                _LOGGER.warning(
                    "architecture plugin '%s' (%s) failed to load: %s: %s",
                    point.name,
                    point.value,
                    type(error).__name__,
                    error,
                )


def _at_size(entry: ArchitectureEntry, name: str, height: int, width: int) -> ArchitectureEntry:
    spec, multiple = entry.spec, entry.spec.size_multiple
    if not multiple or not height or not width or height % multiple or width % multiple:
        takes = f"sides that are multiples of {multiple}" if multiple else "no other size than its own"
        own = spec.preprocess
        raise UnknownArchitectureError(
            f"no architecture is named {name!r}: '{entry.name}' takes {takes} ({own.height}x{own.width} by itself)"
        )
    inputs = tuple(replace(item, shape=(*item.shape[:2], height, width)) for item in spec.inputs)
    preprocess = replace(spec.preprocess, height=height, width=width)
    return replace(entry, name=name, spec=replace(spec, inputs=inputs, preprocess=preprocess))
