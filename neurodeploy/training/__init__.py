"""The loop of a recipe, from a ``Recipe`` to a run folder with the trained network as NIR."""

from __future__ import annotations

from neurodeploy.training.assembly import graph_of
from neurodeploy.training.run import RunResult, resume_run, train

__all__ = ["RunResult", "graph_of", "resume_run", "train"]
