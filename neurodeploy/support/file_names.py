"""Names of files and folders out of texts that come from files."""

from __future__ import annotations

import re

LONGEST = 100
"""Bytes of a name; with what is added to two of them it stays below the 255 of file systems."""


def file_name(text: str) -> str:
    """What of a text can be a name in any folder, and leads out of none.

    Letters of any script, digits and ``._+-`` stay, anything else becomes ``_``. No name begins
    with a dot, which would hide it, or is longer than 100 bytes in UTF-8; of nothing comes
    ``unnamed``.
    """
    kept = re.sub(r"[^\w.+-]+", "_", text).lstrip(".")
    return kept.encode()[:LONGEST].decode(errors="ignore") or "unnamed"
