"""Work spread over processes of this machine, or over machines: the only imports of Dask.

A farm gives pieces of work to Dask workers. Each computes in a process of its own beside the
worker, a helper, which has no threads but the one that computes: so Lava may fork there, a helper
that is killed takes nothing with it, and ending one ends all that it has started.
"""

from neurodeploy.farm.farm import Farm
from neurodeploy.farm.helper import Ask, Calls, Make, Work
from neurodeploy.farm.place import Place, available, plan

__all__ = ["Ask", "Calls", "Farm", "Make", "Place", "Work", "available", "plan"]
