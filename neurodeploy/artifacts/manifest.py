"""The manifest of a deployment, and the two hashes by which it is known to be as it was written.

``digest`` is of what the deployment does: its structure, contract and target, how lava-dl runs it,
and the hashes of its files. Left out is what differs between two equal exports: when and from where
they were made, by which versions, the training, names and notes for people, the folder of the data
(the hash of what that holds is in it), and ``learning.json``, which tells of seconds. So two people
who hold the same deployment find the same digest, wherever and whenever they made it.

``seal`` is of everything in the manifest, the digest too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from neurodeploy.artifacts.names import (
    DEPLOYMENT_FORMAT,
    INTEGERS,
    LEARNING,
    MANIFEST,
    MAPPING,
    NIR_FILE,
)
from neurodeploy.errors import InputError, Step, Text
from neurodeploy.support.files import sha256
from neurodeploy.support.reading import read_json
from neurodeploy.support.seals import SEAL, digest_of, is_intact, sealed

DIGEST = "digest"

WITHOUT_DIGEST = 1
"""Format of deployments whose manifest nothing guards."""

HASHED = (NIR_FILE, INTEGERS, MAPPING)
"""Files of every deployment; the first one only of those that came from NIR."""


def stamped(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest with its digest and its seal, in place of older ones."""
    return sealed({**manifest, DIGEST: digest_in(manifest)})


def digest_in(manifest: Mapping[str, Any]) -> str:
    """Hash of what a deployment does, from its manifest.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: something is missing from it.
    """
    network = {k: v for k, v in manifest["network"].items() if k not in ("name", "notes")}
    contract = network["contract"]
    source = contract.get("source")
    if source:
        place = PurePosixPath(source.get("path") or "").name
        contract = {**contract, "source": {**source, "path": place}}
    kept = {key: manifest.get(key) for key in ("format", "kind", "origin", "target", "netx")}
    files = {name: found for name, found in manifest["files"].items() if name != LEARNING}
    return digest_of({**kept, "network": {**network, "contract": contract}, "files": files})


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a deployment, checked against its hash and its files against theirs.

    Raises:
        InputError: not a deployment, a newer format, or the manifest or a file altered or missing.
    """
    file = path / MANIFEST
    if not file.is_file():
        raise InputError(
            f"{path}: not a deployment (no {MANIFEST})", fix=Text("make one with ", Step("export"))
        )
    manifest = read_json(file)
    kind, version = manifest.get("kind"), manifest.get("format")
    if kind != "deployment" or version not in (WITHOUT_DIGEST, DEPLOYMENT_FORMAT):
        raise InputError(
            f"{file}: kind {kind!r} format {version!r}; this version reads deployments of format "
            f"{WITHOUT_DIGEST} and {DEPLOYMENT_FORMAT}"
        )
    guarded = {DIGEST, SEAL} & manifest.keys()
    if guarded if version == WITHOUT_DIGEST else not is_intact(manifest):
        raise InputError(f"{file}: changed since the export (its hash differs); export it again")
    _check_files(path, manifest)
    return manifest


def has_digest(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest that was read is guarded by its hashes."""
    return DIGEST in manifest


def is_plain_name(name: str) -> bool:
    """Whether a name is that of a file within a folder, and leads nowhere else."""
    return name not in ("", ".", "..") and not set("/\\\0") & set(name)


def _check_files(path: Path, manifest: Mapping[str, Any]) -> None:
    """Compare every file with its hash.

    Raises:
        InputError: one is missing or altered, or is not in the folder by its name.
    """
    hashes = manifest.get("files")
    hashes = hashes if isinstance(hashes, dict) else {}
    expected = HASHED[1:] if manifest.get("origin") == "net" else HASHED
    for name in dict.fromkeys([*expected, *hashes]):
        if not is_plain_name(name):
            raise InputError(
                f"{path / MANIFEST}: lists {name!r}, which is no name of a file in its folder; "
                "export it again"
            )
        file = path / name
        if not file.is_file():
            raise InputError(f"{file}: missing from the deployment; export it again")
        if sha256(file) != hashes.get(name):
            raise InputError(f"{file}: changed since the export (hash differs); export it again")
