"""A NIR graph without its readout, for tools that have no neuron that only adds up.

The networks we train end in NIR's I, which integrates the last weighted sum, so that a chip can do
it. snnTorch and SpikingJelly have no such neuron and refuse the file. Without it the output is that
sum at every step; adding it up is left to whoever runs the graph.
"""

from __future__ import annotations

import nir

from neurodeploy.errors import UnsupportedError


def without_readout(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The graph whose output is what went into its integrator.

    Its outputs, added up over a sample and times r dt of the integrator (1 in files of ours), are
    the integrator's last v.

    Raises:
        UnsupportedError: the output does not read one integrator (NIR's I).
    """
    outputs = [name for name, node in graph.nodes.items() if isinstance(node, nir.Output)]
    read = [source for source, target in graph.edges if target in outputs]
    if len(outputs) != 1 or len(read) != 1 or not isinstance(graph.nodes[read[0]], nir.I):
        kinds = ", ".join(f"{name!r} ({type(graph.nodes[name]).__name__})" for name in read)
        raise UnsupportedError(
            f"the output reads {kinds or 'nothing'}; there is a readout to take away where it "
            "reads one integrator (I)"
        )
    (readout,), (output,) = read, outputs
    if any(source == readout and target != output for source, target in graph.edges):
        raise UnsupportedError(f"integrator {readout!r} feeds more than the output")
    nodes = {name: node for name, node in graph.nodes.items() if name != readout}
    edges = [
        (source, output if target == readout else target)
        for source, target in graph.edges
        if source != readout
    ]
    return nir.NIRGraph(nodes, edges, dict(graph.metadata), type_check=False)
