"""A folder of engines: content-hashed files, a sidecar beside each, one manifest that names them all.

    manifest.json                  what is there, written last: an engine counts only when it stands here
    manifest.json.sig              signature of the manifest, where it was signed
    NAME.engine                    the engine; its name carries the first digits of its SHA-256
    NAME.engine.sha256             sidecar, as `sha256sum` writes it
    NAME.golden.npz, .sha256       golden outputs
    .lock                          held by the writer

Whenever a writer is killed, each engine that the manifest names is whole. What a killed writer leaves besides:
temporary files, which the next writer removes, and files that no manifest names, which `prune` removes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from types import MappingProxyType

from gps_denied_inference.core.atomic_files import (
    TEMPORARY_PREFIX,
    StagedFile,
    file_sha256,
    open_regular,
    remove_temporaries,
    staged,
    sync_folder,
    write_atomically,
)
from gps_denied_inference.core.contracts import PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines.build_command import build_advice
from gps_denied_inference.core.engines.file_name import DIGEST_LENGTH, EngineFileName
from gps_denied_inference.core.engines.host import HostTuple
from gps_denied_inference.core.engines.manifest import MANIFEST_NAME, Manifest, ManifestEntry
from gps_denied_inference.core.errors import EngineBuildError, EngineManifestError

__all__ = ["GOLDEN_SUFFIX", "SIDECAR_SUFFIX", "SIGNATURE_NAME", "EngineStore"]

SIDECAR_SUFFIX = ".sha256"
SIGNATURE_NAME = f"{MANIFEST_NAME}.sig"
GOLDEN_SUFFIX = ".golden.npz"
"""Of the artefact that holds the golden images and outputs."""

_LOCK_NAME = ".lock"


class EngineStore:
    """Reads and writes a store. Two processes may write at once: one waits for the other.

    Args:
        root: its folder; made by the first `add`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def manifest(self) -> Manifest:
        """Read what is there.

        Raises:
            EngineManifestError: there is no manifest, or it is unreadable or malformed.
        """
        return Manifest.from_bytes(self.manifest_bytes(), str(self.root / MANIFEST_NAME))

    def manifest_bytes(self) -> bytes:
        """Read the manifest as it lies there, for who checks its signature.

        Raises:
            EngineManifestError: there is no manifest, or it is unreadable.
        """
        path = self.root / MANIFEST_NAME
        try:
            with open_regular(path) as file:
                return file.read()
        except FileNotFoundError as error:
            raise EngineManifestError(
                f"{self.root} holds no {MANIFEST_NAME}, so it is no engine store; make one with "
                f"'gdi engine build MODEL --runtime LABEL --store {self.root}'"
            ) from error
        except OSError as error:
            raise EngineManifestError(
                f"cannot read {path} ({error.strerror}); give its owner's rights to this user"
            ) from error

    def add(
        self,
        content: Path | bytes,
        *,
        name: EngineFileName,
        details: ManifestEntry,
        artefacts: Mapping[str, bytes] = MappingProxyType({}),
    ) -> ManifestEntry:
        """Put an engine into the store. It is there when this returns; when this raises, the store is as it was.

        An engine of the same bytes takes the place of its entry. When its artefacts differ from those of before, the
        entry is taken out while they are replaced: a kill just then leaves the engine unnamed, never half replaced.

        Args:
            content: the engine's bytes, or a file to be copied.
            name: its parts; the digest is filled in.
            details: what is known of it; file name, hash, size and artefacts are filled in.
            artefacts: other files that belong to it, suffix → content, e.g. `.golden.npz`.

        Raises:
            EngineBuildError: the disk is full, or the folder cannot be written.
            EngineManifestError: the store's manifest is malformed, or the details could not be read back.
        """
        with self.writing():
            before = self.manifest() if (self.root / MANIFEST_NAME).exists() else Manifest()
            try:
                sha256 = file_sha256(content) if isinstance(content, Path) else _bytes_sha256(content)
            except OSError as error:
                raise EngineBuildError(f"cannot read the new engine {content!r} ({error.strerror})") from error
            file_name = replace(name, digest=sha256[:DIGEST_LENGTH]).text()
            stem = file_name.removesuffix(PurePath(file_name).suffix)
            previous = before.entry(file_name)
            kept = tuple(item for item in before.entries if item.file_name != file_name)
            with contextlib.ExitStack() as stack:
                # All that takes room is on the disk before the first name changes.
                engine, *others = (
                    stack.enter_context(staged(self.root / name, data))
                    for name, data in [(file_name, content), *((stem + key, data) for key, data in artefacts.items())]
                )
                if engine.sha256 != sha256:
                    raise EngineBuildError(
                        f"{content!r} changed while it was copied into the store; build the engine again"
                    )
                sidecars = [
                    stack.enter_context(
                        staged(_sidecar(file.path), f"{file.sha256}  {file.path.name}\n".encode("ascii"))
                    )
                    for file in (engine, *others)
                ]
                hashes = {file.path.name: file.sha256 for file in others}
                entry = replace(
                    details,
                    file_name=file_name,
                    sha256=sha256,
                    size_bytes=engine.size_bytes,
                    artefacts=MappingProxyType(hashes),
                )
                after = Manifest((*kept, entry)).canonical_bytes()
                Manifest.from_bytes(after, f"the new {MANIFEST_NAME}")
                manifest = stack.enter_context(staged(self.root / MANIFEST_NAME, after))
                if previous is not None and _is_replaced(previous, (engine, *others)):
                    self._write_manifest(Manifest(kept))
                for file in (engine, *others, *sidecars):
                    file.publish()
                sync_folder(self.root)
                manifest.publish()
                sync_folder(self.root)
        return entry

    def find(
        self,
        *,
        model: str,
        runtime: RuntimeLabel,
        precision: PrecisionMode,
        host: HostTuple,
        build_options: Sequence[str] = (),
        why_not: Callable[[ManifestEntry], str] = lambda _entry: "",
    ) -> ManifestEntry:
        """Return the newest engine that fits a computer, and the caller.

        Args:
            model: architecture.
            runtime: that is to run it.
            precision: of its arithmetic.
            host: the computer.
            build_options: more arguments of the command that the error names.
            why_not: says what keeps an engine from being the one that is wanted; empty when nothing does.

        Raises:
            EngineManifestError: there is none; lists what is there and why it does not fit, and the command to run.
        """
        advice = build_advice(model, runtime, precision, self.root, build_options)
        if not os.path.lexists(self.root / MANIFEST_NAME):
            raise EngineManifestError(f"{self.root} holds no {MANIFEST_NAME}, so it is no engine store. {advice}")
        reasons = []
        for entry in reversed(self.manifest().entries):
            if (entry.model, entry.runtime) != (model, runtime):
                continue
            if entry.precision is not precision:
                reasons.append(f"{entry.file_name}: its precision is {entry.precision.value}")
                continue
            problems = EngineFileName.parse(entry.file_name).mismatches(host)
            unwanted = why_not(entry)
            if not problems and not unwanted:
                return entry
            reasons.append(f"{entry.file_name}: {', '.join((*problems, unwanted) if unwanted else problems)}")
        found = "; ".join(reasons) or "it has none of this model and runtime"
        raise EngineManifestError(
            f"{self.root} has no engine for '{model}' on '{runtime.value}' in {precision.value} that this computer "
            f"can run ({found}). {advice}"
        )

    def path_of(self, entry: ManifestEntry) -> Path:
        """Return where an engine lies."""
        return self.root / entry.file_name

    def artefact_path(self, name: str) -> Path:
        """Return where an artefact lies."""
        return self.root / name

    def golden_of(self, entry: ManifestEntry) -> tuple[Path, str] | None:
        """Return path and SHA-256 of an engine's golden outputs; None when it has none."""
        name = entry.file_name.removesuffix(PurePath(entry.file_name).suffix) + GOLDEN_SUFFIX
        sha256 = entry.artefacts.get(name)
        return None if sha256 is None else (self.root / name, sha256)

    def strangers(self) -> tuple[str, ...]:
        """Names of files that the manifest does not know."""
        known = {MANIFEST_NAME, SIGNATURE_NAME, _LOCK_NAME}
        for entry in self.manifest().entries:
            for name in (entry.file_name, *entry.artefacts):
                known |= {name, name + SIDECAR_SUFFIX}
        names = (path.name for path in self.root.iterdir())
        return tuple(sorted(name for name in names if name not in known and not name.startswith(TEMPORARY_PREFIX)))

    def remove(self, entry: ManifestEntry) -> None:
        """Take an engine out: of the manifest first, then the files that the manifest names for it.

        Raises:
            EngineBuildError: the folder cannot be written.
            EngineManifestError: the manifest is malformed.
        """
        self.manifest()  # A mistyped folder is an error before it is made.
        with self.writing():
            entries = self.manifest().entries
            kept = tuple(item for item in entries if item.file_name != entry.file_name)
            self._write_manifest(Manifest(kept))
            self._delete(tuple(item for item in entries if item.file_name == entry.file_name), kept)

    def prune(self, keep: int) -> tuple[ManifestEntry, ...]:
        """Keep the newest engines of each model, runtime, precision and target; return those that were removed.

        Files that no manifest names go too; folders among them stay.

        Args:
            keep: how many of each, at least 1.

        Raises:
            EngineBuildError: `keep` is below 1, or the folder cannot be written.
            EngineManifestError: the manifest is missing or malformed.
        """
        if keep < 1:
            raise EngineBuildError(f"{keep} engines of each kind cannot be kept; keep at least 1")
        self.manifest()  # A mistyped folder is an error before it is made.
        with self.writing():
            counts: dict[tuple[object, ...], int] = {}
            kept: list[ManifestEntry] = []
            removed: list[ManifestEntry] = []
            for entry in reversed(self.manifest().entries):
                name = EngineFileName.parse(entry.file_name)
                kind = (name.model, name.runtime, name.precision, name.sms, name.platform, name.toolchain)
                counts[kind] = counts.get(kind, 0) + 1
                (kept if counts[kind] <= keep else removed).append(entry)
            if removed:
                self._write_manifest(Manifest(tuple(reversed(kept))))
                self._delete(tuple(removed), tuple(kept))
            for stranger in self.strangers():
                with contextlib.suppress(OSError):
                    (self.root / stranger).unlink()
        return tuple(removed)

    def _write_manifest(self, manifest: Manifest) -> None:
        write_atomically(self.root / MANIFEST_NAME, manifest.canonical_bytes())

    def _delete(self, entries: tuple[ManifestEntry, ...], kept: tuple[ManifestEntry, ...]) -> None:
        needed = {name for entry in kept for name in (entry.file_name, *entry.artefacts)}
        for entry in entries:
            for name in {entry.file_name, *entry.artefacts} - needed:
                for path in (self.root / name, self.root / (name + SIDECAR_SUFFIX)):
                    with contextlib.suppress(OSError):
                        path.unlink()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer, having waited for the other one; the lock goes with the process.

        Raises:
            EngineBuildError: the folder cannot be written or locked.
        """
        with contextlib.ExitStack() as stack:
            try:
                self.root.mkdir(parents=True, exist_ok=True)
                lock = stack.enter_context((self.root / _LOCK_NAME).open("ab"))
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError as error:
                raise EngineBuildError(
                    f"cannot write into the engine store {self.root} ({error.strerror}); give a folder that can be "
                    "written"
                ) from error
            remove_temporaries(self.root)
            yield


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + SIDECAR_SUFFIX)


def _is_replaced(entry: ManifestEntry, files: tuple[StagedFile, ...]) -> bool:
    """Whether a file that an entry names is about to get other bytes."""
    named = {entry.file_name: entry.sha256, **entry.artefacts}
    return any(named.get(file.path.name, file.sha256) != file.sha256 for file in files)


def _bytes_sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
