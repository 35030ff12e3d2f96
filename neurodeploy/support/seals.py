"""Hashes over JSON, and tables that carry their own, so that an edited one is noticed.

A seal guards against accidents and edits, not against somebody who makes a new one: for that, two
people compare the digest of a deployment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SEAL = "seal"
"""The key of a table that holds the hash of all others."""


def digest_of(value: Any) -> str:
    """SHA-256, in hex, of a value as canonical JSON.

    Keys are sorted, nothing is indented, and everything beyond ASCII is escaped. The value counts
    as JSON gives it back, so that a tuple is a list, and what is read has the hash of what was
    written.
    """
    plain = json.loads(json.dumps(value))
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def sealed(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table with the hash of all else in it, in place of an older one."""
    rest = _unsealed(table)
    return {**rest, SEAL: digest_of(rest)}


def is_intact(table: Mapping[str, Any]) -> bool:
    """Whether a table has a seal, and is as it was sealed."""
    return SEAL in table and table[SEAL] == digest_of(_unsealed(table))


def _unsealed(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key != SEAL}
