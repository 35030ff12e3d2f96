"""The terms of the report: what each means, and where on the page it is linked from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """An entry of the glossary.

    Attributes:
        key: of its anchor, ``term-KEY``.
        linked: headings of tables that lead to it.
    """

    key: str
    name: str
    text: str
    linked: tuple[str, ...] = ()


GLOSSARY = (
    Term(
        "axon",
        "Axon, input and output",
        "An input axon is an entry of a core's table of incoming spikes: one for each neuron whose "
        "spikes the core receives by one projection; a convolution whose kernel is stored once "
        "needs a single one. An output axon is an entry for one neuron and one core that its "
        "spikes are sent to.",
        ("input axons", "output axons"),
    ),
    Term(
        "balanced",
        "Balanced accuracy",
        "The mean of the accuracies of the classes. Unlike accuracy, it does not depend on how "
        "many samples each class has.",
    ),
    Term(
        "bits",
        "Bit for bit",
        "Two engines agree bit for bit when every compared integer is equal: u, v and the spikes "
        "of every neuron, at every step, on every sample compared. It holds for the samples whose "
        "number is given beside it.",
    ),
    Term(
        "chip-step",
        "Step",
        "One update of every neuron: the time step of the network. The chip runs a step on all "
        "cores, and a barrier ends it when the slowest core is done.",
        ("time step", "steps", "time of a step", "a step waits for"),
    ),
    Term(
        "clipped",
        "Clipped weight",
        "A weight beyond the largest integer of its format, which was set to that integer.",
        ("clipped",),
    ),
    Term(
        "contract",
        "Contract",
        "What a NIR file leaves open and every engine must do in the same way: time step, "
        "integration, when a neuron fires, what a spike resets, how samples are encoded, and how "
        "the class is read.",
    ),
    Term(
        "decay",
        "Decay (leak)",
        "The part of u or v that is lost in a step, in units of 1/4096: a decay of 2,048 leaves "
        "half of the value.",
        ("leak, 1/4096",),
    ),
    Term(
        "digest",
        "Digest",
        "A SHA-256 hash of everything that determines what a deployment computes. Two deployments "
        "with the same digest compute the same.",
    ),
    Term(
        "exponent",
        "Exponent",
        "Weights of a projection are stored as integers and multiplied by 2 to the power of this "
        "number.",
        ("exponent",),
    ),
    Term(
        "graded",
        "Graded spike, graded input",
        "A message that carries an integer, where a plain spike carries none.",
    ),
    Term(
        "guard",
        "Guard step",
        "A silent step between two samples. There are as many as the longest delay, so that spikes "
        "of one sample that are still on their way do not arrive in the next.",
    ),
    Term(
        "hop",
        "Hop",
        "A step of a message from one tile of the chip's mesh to the next.",
        ("hops", "hops each"),
    ),
    Term(
        "nir",
        "NIR",
        "Neuromorphic Intermediate Representation, a file format for spiking networks that many "
        "frameworks read and write.",
    ),
    Term(
        "parity",
        "Parity",
        "Whether two engines compute the same. The map of it shows the share of compared values "
        "that differ, by population and step.",
    ),
    Term(
        "population",
        "Population",
        "A group of neurons of one model and shape, usually a layer.",
        ("population",),
    ),
    Term(
        "projection",
        "Projection",
        "All synapses from one population to another, with their weights.",
        ("projection",),
    ),
    Term(
        "saturation",
        "Saturation",
        "A potential v that would leave the 24 bits of the chip's register and stays at the limit.",
        ("v saturated",),
    ),
    Term(
        "scale",
        "Scale",
        "The integer that a weight of 1 of the float network becomes.",
        ("scale", "one unit"),
    ),
    Term(
        "sltt",
        "SLTT",
        "Spatial learning through time (Meng et al. 2023): a rule that trains spiking networks "
        "without backpropagating through time.",
    ),
    Term(
        "spike",
        "Spike",
        "A message that a neuron sends when its potential v reaches the threshold. An input whose "
        "values are integers sends an event for each value that is not 0.",
        ("spikes", "spikes per sample"),
    ),
    Term(
        "sqnr",
        "SQNR",
        "Signal to quantisation noise ratio, in decibels: the power of the weights over the power "
        "of their rounding error. Each bit adds about 6 dB.",
        ("SQNR, dB",),
    ),
    Term(
        "synaptic-op",
        "Synaptic operation",
        "One entry of synapse memory that a core reads and adds because a spike arrived.",
        ("synaptic operations",),
    ),
    Term(
        "synapse-word",
        "Synapse word",
        "A word of a core's synapse memory, which holds one or several weights.",
        ("synapse words", "synapse memory"),
    ),
    Term(
        "u",
        "u, the current",
        "The sum of weighted input spikes of a neuron, decaying from step to step.",
    ),
    Term(
        "v",
        "v, the potential",
        "What integrates the current u. The neuron fires when v reaches the threshold, and v is "
        "then reset. Thresholds are stored without their lowest 6 bits: v is compared with 64 "
        "times the threshold.",
        ("threshold", "fires, resets"),
    ),
    Term(
        "wrap",
        "Wrap",
        "A current u that leaves its 24-bit register and continues from the other end, as integers "
        "in hardware do. A wrap changes the sign of u and is almost always an error.",
        ("u wrapped",),
    ),
)

LINKED = {heading: term.key for term in GLOSSARY for heading in term.linked}
"""Heading of a table to the key of its term."""
