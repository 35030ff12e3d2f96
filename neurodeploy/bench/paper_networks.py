"""The networks of the SLTT paper, untrained but alive, as training would export them."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.bench.configuration import SEED, Configuration
from neurodeploy.ir.network import Network

PAPER_NETWORKS = ("resnet18", "vgg11")
"""For 32 x 32 images, and for 48 x 48 frames over time (``configuration.network_shape``)."""

SAMPLES = 4
"""That batch norm measures; few, because means over whole maps hardly vary."""


def paper_network(name: str, steps: int) -> Network:
    """One of ``PAPER_NETWORKS`` with the weights that training starts from.

    Batch norms carry the statistics of a batch of random samples, without which no neuron of the
    deeper layers would ever reach its threshold.

    Args:
        steps: T.
    """
    import torch

    from neurodeploy.interchange.nir.network_in import contract_of, to_network
    from neurodeploy.training.assembly import graph_of, network_of

    configuration = Configuration("sltt", name, steps, SAMPLES)
    recipe, dataset = configuration.recipe, configuration.dataset()
    torch.manual_seed(SEED)
    model = network_of(recipe, dataset)
    norms: list[Any] = [layer for layer in model.modules() if hasattr(layer, "running_var")]
    for norm in norms:
        norm.momentum = 1.0  # the last batch alone counts
    values = torch.from_numpy(np.asarray(dataset.x_train)).float() / dataset.levels
    with torch.no_grad():
        model.train()
        for t in range(steps):
            model(values[:, t] if dataset.over_time else values)
        model.reset_state()
    graph = graph_of(model.eval(), recipe, dataset)
    contract = contract_of(graph, name)
    if contract is None:
        raise ValueError("what we export carries its contract")
    return to_network(graph, contract, name)
