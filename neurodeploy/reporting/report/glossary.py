"""The terms of the report and of the documentation, whose glossary is written from these."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """An entry of the glossary.

    Attributes:
        key: of its anchor, ``term-KEY``.
        text: plain text, which the documentation reads as Markdown.
        linked: headings of tables in the report that lead to it.
    """

    key: str
    name: str
    text: str
    linked: tuple[str, ...] = ()


GLOSSARY = (
    Term(
        "accuracy",
        "Accuracy",
        "The share of samples whose class is right: from 0 to 1 in JSON, in percent elsewhere.",
    ),
    Term(
        "axon",
        "Axon, input and output",
        "An input axon is an entry of a core's table of incoming spikes: one for each neuron whose "
        "spikes the core receives by one projection; a convolution whose kernel is stored once "
        "needs a single one. An output axon is an entry for one neuron and one core that its "
        "spikes are sent to. A core has a limited number of both.",
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
        "calibration",
        "Calibration",
        "Choosing the scales of the quantisation by what training samples make the neurons do.",
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
        "core",
        "Core",
        "The part of a chip that holds some of the neurons and synapses and computes them.",
    ),
    Term(
        "decay",
        "Decay (leak)",
        "The part of u or v that is lost in a step, in units of 1/4096: a decay of 2,048 leaves "
        "half of the value.",
        ("leak, 1/4096",),
    ),
    Term(
        "decode",
        "Decode",
        "How the class is read from the output neurons: by their potential at the last step "
        "(last_v), by its sum over all steps (sum_v), or by their number of spikes (spike_count).",
    ),
    Term(
        "deployment",
        "Deployment",
        "A folder with a network in the integers of a target, its mapping to cores, and the "
        "results of its simulations.",
    ),
    Term(
        "digest",
        "Digest",
        "A SHA-256 hash of everything that determines what a deployment computes. Two deployments "
        "with the same digest compute the same.",
    ),
    Term(
        "encoder",
        "Encoder",
        "How a sample becomes the input of T steps: direct, rate, latency or events.",
    ),
    Term(
        "engine",
        "Engine",
        "What runs a network: reference, lava, lava-fused and netx compute its integers, float and "
        "norse the network before quantisation.",
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
        "levels",
        "Levels",
        "The largest integer that an input can have: 255 for images in bytes, 1 for spikes.",
    ),
    Term(
        "mapping",
        "Mapping",
        "Which neurons and synapses are on which core.",
    ),
    Term(
        "nir",
        "NIR",
        "Neuromorphic Intermediate Representation (Pedersen et al. 2024), a file format for "
        "spiking networks that many frameworks read and write.",
    ),
    Term(
        "parity",
        "Parity",
        "Whether two engines compute the same. The parity map shows the share of compared values "
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
        "All synapses from one population to another, with their weights and their delay.",
        ("projection",),
    ),
    Term(
        "quantisation",
        "Quantisation",
        "Turning the weights, thresholds, biases and leaks of a network in floats into the "
        "integers of a target.",
    ),
    Term(
        "recipe",
        "Recipe",
        "A TOML file that defines a training run.",
    ),
    Term(
        "reference",
        "Reference",
        "The engine that computes a deployment's integers in plain array arithmetic; Lava is "
        "compared with it.",
    ),
    Term(
        "relay",
        "Relay",
        "A population without a membrane: it passes what it receives on as graded spikes.",
    ),
    Term(
        "run",
        "Run",
        "One training, and the folder that it writes.",
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
        "Spatial Learning Through Time (Meng et al. 2023): a rule that trains spiking networks "
        "without going backward through time, so that memory does not grow with the number of "
        "steps.",
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
        "Signal-to-quantisation-noise ratio, in decibels: the power of the weights over the power "
        "of their rounding error. Each bit adds about 6 dB.",
        ("SQNR, dB",),
    ),
    Term(
        "chip-step",
        "Step; T",
        "One update of every neuron: the time step of the network. T is the number of steps of a "
        "sample. The chip runs a step on all cores, and a barrier ends it when the slowest core is "
        "done.",
        ("time step", "steps", "time of a step", "a step waits for"),
    ),
    Term(
        "synaptic-op",
        "Synaptic operation",
        "One entry of synapse memory that a core reads and adds because a spike arrived. Most of "
        "the dynamic energy goes into these.",
        ("synaptic operations",),
    ),
    Term(
        "synapse-word",
        "Synapse word",
        "A word of a core's synapse memory, which holds one or several weights.",
        ("synapse words", "synapse memory"),
    ),
    Term(
        "target",
        "Target",
        "A chip, or a system of chips: a file of its limits, each with a source.",
    ),
    Term(
        "tau",
        "Tau",
        "A time constant in steps: a membrane keeps 1 - 1/tau of its potential from one step to "
        "the next.",
    ),
    Term(
        "u",
        "u, the current",
        "The sum of weighted input spikes of a neuron, decaying from step to step. In the "
        "equations of training, where the current has no memory of its own, u is the potential "
        "before a spike resets it.",
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
