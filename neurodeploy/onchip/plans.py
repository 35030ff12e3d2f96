"""Which plan a network learns by: chains have one of their own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.onchip.chain import chain
from neurodeploy.onchip.graph_plan import GraphPlan, graph_plan_of_any_rate, make_graph_plan
from neurodeploy.onchip.learner import LearningOptions
from neurodeploy.onchip.plan import LearningPlan, make_plan, plan_of_any_rate
from neurodeploy.onchip.reference import ReferenceLearner

if TYPE_CHECKING:
    from neurodeploy.onchip.graph_reference import GraphReference


def make_learning_plan(
    network: QuantizedNetwork,
    options: LearningOptions,
    tags: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> LearningPlan | GraphPlan:
    """The plan of rule ``sltt``, ``local`` or ``eprop``: that of a chain where it learns as one.

    Args:
        tags: what is below the weights in the beginning, by projection; 0 where not given.

    Raises:
        UnsupportedError: the network has what the rule is not defined for.
        InputError: the rate is out of the range of a projection's shifts.
    """
    if in_a_graph(network, options):
        return make_graph_plan(network, options, tags)
    return make_plan(network, options, tags)


def learning_plan_of_any_rate(
    network: QuantizedNetwork, options: LearningOptions
) -> LearningPlan | GraphPlan:
    """The same with shifts that may be out of range, to measure with.

    Raises:
        UnsupportedError: the network has what the rule is not defined for.
    """
    if in_a_graph(network, options):
        return graph_plan_of_any_rate(network, options)
    return plan_of_any_rate(network, options)


def in_a_graph(network: QuantizedNetwork, options: LearningOptions) -> bool:
    """Whether a network learns by the plan of graphs."""
    return options.rule == "eprop" or not_a_chain(network) is not None


def not_a_chain(network: QuantizedNetwork) -> str | None:
    """What makes a network more than a chain of layers; None where it is one."""
    try:
        chain(network)
    except UnsupportedError as error:
        return str(error)
    return None


def measuring_reference(plan: LearningPlan | GraphPlan) -> ReferenceLearner | GraphReference:
    """The reference that says how far updates move potentials."""
    if isinstance(plan, LearningPlan):
        return ReferenceLearner(plan)
    from neurodeploy.onchip.graph_reference import GraphReference

    return GraphReference(plan)
