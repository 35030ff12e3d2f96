"""What a simulation or a comparison found, with the deployment that it was made from.

A result is a JSON file with the digest of the deployment, the hashes of the files beside it that
belong to it, and a seal on itself. Anything else that lies in ``results/`` is ignored, by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurodeploy.artifacts.deployment import Deployment
from neurodeploy.artifacts.manifest import DIGEST, is_plain_name
from neurodeploy.errors import InputError
from neurodeploy.support.files import sha256, write_json
from neurodeploy.support.reading import read_json
from neurodeploy.support.seals import SEAL, is_intact, sealed

FILES = "files"


@dataclass(frozen=True, eq=False)
class Result:
    """One that is as it was written, of the deployment that it lies in.

    Attributes:
        path: the JSON file.
        values: what it holds.
    """

    path: Path
    values: Mapping[str, Any]

    def beside(self, name: str) -> Path | None:
        """A file that belongs to it, None where there is none or it is another one."""
        file = self.path.with_name(name)
        expected = self.values[FILES].get(name)
        if not is_plain_name(name) or expected is None or not file.is_file():
            return None
        return file if sha256(file) == expected else None


def write_result(
    path: Path, values: Mapping[str, Any], deployment: Deployment, files: Sequence[str] = ()
) -> None:
    """Write a result, whole or not at all.

    Args:
        deployment: that it was made from.
        files: names of what was written beside it and belongs to it.

    Raises:
        InputError: it cannot be written.
    """
    hashes = {name: sha256(path.with_name(name)) for name in files}
    write_json(path, sealed({**values, DIGEST: deployment.digest, FILES: hashes}))


def read_results(deployment: Deployment, name: str) -> tuple[list[Result], list[str]]:
    """Results of that name, newest first, and why others are ignored."""
    found, ignored = [], []
    files = [path for path in deployment.results.glob(f"*/{name}") if path.is_file()]
    for path in sorted(files, key=lambda path: (-path.stat().st_mtime_ns, path)):
        where = path.relative_to(deployment.path)
        try:
            values = read_json(path)
        except InputError:
            ignored.append(f"{where} cannot be read")
            continue
        if DIGEST not in values and SEAL not in values:
            ignored.append(f"{where} does not say what it was made from, as in older versions")
        elif not is_intact(values):
            ignored.append(f"{where} was changed after it was written")
        elif values.get(DIGEST) != deployment.digest:
            ignored.append(f"{where} was made from another deployment")
        else:
            found.append(Result(path, values))
    return found, ignored
