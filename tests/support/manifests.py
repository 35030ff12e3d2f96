"""Manifests of deployments, edited."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from neurodeploy.artifacts.manifest import stamped
from neurodeploy.support.seals import SEAL, sealed


def edit_manifest(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the manifest of a deployment, and its digest and seal with it."""
    file = path / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
        manifest = stamped(manifest)
    file.write_text(json.dumps(sealed(manifest)))


def make_old(path: Path) -> None:
    """Leave a manifest as it was before there were digests."""
    file = path / "manifest.json"
    manifest = json.loads(file.read_text())
    del manifest["digest"], manifest[SEAL]
    file.write_text(json.dumps({**manifest, "format": 1}))


def edited(value: Any) -> Iterator[Any]:
    """Copies of a JSON value, each with one thing in it changed, added or left out."""
    if isinstance(value, dict):
        yield {**value, "one more": 0}
        for key, item in value.items():
            yield {name: other for name, other in value.items() if name != key}
            for changed in edited(item):
                yield {**value, key: changed}
    elif isinstance(value, list):
        yield [*value, 0]
        for index, item in enumerate(value):
            yield value[:index] + value[index + 1 :]
            for changed in edited(item):
                yield [*value[:index], changed, *value[index + 1 :]]
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield value + 1
        yield -value - 1
    elif isinstance(value, str):
        yield value + "a"
        yield "/" + value
    else:
        yield 0
