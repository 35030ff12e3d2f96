"""Work spread over processes of this machine, or over machines: the only imports of Dask.

A farm gives pieces of work to helpers on this machine, or to Dask workers elsewhere, which have
helpers beside them. A helper is a process without threads but the one that computes: so Lava may
fork there, a helper that is killed takes nothing with it, and ending one ends all that it started.
"""

from neurodeploy.farm.farm import Farm
from neurodeploy.farm.helper import Ask, Calls, Make, Work
from neurodeploy.farm.place import Place, plan

__all__ = ["Ask", "Calls", "Farm", "Make", "Place", "Work", "plan"]
