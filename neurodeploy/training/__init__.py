"""Training of spiking networks: the only home of torch autograd.

A run starts from a ``Recipe`` and leaves a run folder with the trained network as NIR. The pieces
are registries of one file each: ``surrogate.SURROGATES``, ``networks.FAMILIES``, ``rules.RULES``.
"""

from __future__ import annotations

from neurodeploy.quantization.aware import trained_to_nir
from neurodeploy.training.run import RunResult, resume_run, train

__all__ = ["RunResult", "resume_run", "train", "trained_to_nir"]
