"""The frameworks whose files are known: one file each, from the source of the version named there.

A file is read as the network that wrote it computes; for frameworks that only read NIR, as they
read it. The nodes are translated into ones whose own equations, stepped under the contract, are
that, so that nothing after the import knows of frameworks.
"""

from __future__ import annotations

from neurodeploy.interchange.frameworks.framework import Framework
from neurodeploy.interchange.frameworks.lava import LAVA
from neurodeploy.interchange.frameworks.nengo import NENGO
from neurodeploy.interchange.frameworks.norse import NORSE
from neurodeploy.interchange.frameworks.rockpool import ROCKPOOL
from neurodeploy.interchange.frameworks.sinabs import SINABS
from neurodeploy.interchange.frameworks.snntorch import SNNTORCH
from neurodeploy.interchange.frameworks.spikingjelly import SPIKINGJELLY
from neurodeploy.interchange.frameworks.spyx import SPYX

FRAMEWORKS: dict[str, Framework] = {
    "norse": NORSE,
    "snntorch": SNNTORCH,
    "sinabs": SINABS,
    "spikingjelly": SPIKINGJELLY,
    "rockpool": ROCKPOOL,
    "spyx": SPYX,
    "nengo": NENGO,
    "lava": LAVA,
}
