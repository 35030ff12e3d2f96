"""The public door to NIR graphs on disk: the reader and the writer of ``nir.file``."""

from __future__ import annotations

from neurodeploy.interchange.nir.file import read_nir, write_nir

__all__ = ["read_nir", "write_nir"]
