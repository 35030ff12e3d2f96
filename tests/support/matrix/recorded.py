"""Cells of frameworks that are not installed: their own files and recorded traces."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import nir
import numpy as np

from neurodeploy.interchange.nir.file import read_nir
from support.matrix.cell import Cell, Spikes
from support.recorded import DATA, recorded_file, recorded_traces

SPYX, ROCKPOOL, NENGO = "Spyx 1.0.0", "Rockpool 3.1.0", "Nengo 4.1.0"
LAVA, LAVA_DL = "Lava 0.10.0", "Lava 0.10.0 (lava-dl 0.6.0)"

NEURONS: list[tuple[str, str, str, str, str, str]] = [
    (SPYX, "LIF", "subtract, late", "beta per neuron", "spyx_dense", "layer_1"),
    (SPYX, "CuBaLIF", "subtract", "alpha and beta per neuron", "spyx_dense", "layer_3"),
    (SPYX, "IF", "subtract", "threshold 2", "spyx_dense", "layer_5"),
    (SPYX, "RIF", "subtract", "", "spyx_rif", "layer_1"),
    (SPYX, "RLIF", "subtract, late", "beta per neuron", "spyx_rlif", "layer_1"),
    (SPYX, "RCuBaLIF", "subtract", "alpha and beta per neuron", "spyx_rcuba", "layer_1"),
    (SPYX, "PSU_LIF", "none", "beta per neuron", "spyx_psu", "layer_1"),
    (ROCKPOOL, "LIFTorch", "subtract", "tau per neuron", "rockpool_spiking", "1_LIFTorch"),
    (ROCKPOOL, "LIFNeuronTorch", "subtract", "", "rockpool_spiking", "3_LIFNeuronTorch"),
    (ROCKPOOL, "ExpSynTorch", "", "", "rockpool_readout", "3_ExpSynTorch"),
    (NENGO, "LIF", "to 0", "", "nengo_lif", "1"),
    (NENGO, "IF", "to 0", "", "nengo_if", "1"),
    (NENGO, "CubaLIF", "to 0", "r 2, w_in 3", "nengo_cuba", "1"),
    (NENGO, "LI", "", "", "nengo_readout", "1"),
    (LAVA_DL, "CubaLIF", "to 0", "w_in dt/tau_syn 1", "lava_cuba", "1"),
    (LAVA_DL, "CubaLIF", "to 0", "w_in dt/tau_syn 1.5", "lava_cuba_scaled", "1"),
    (LAVA_DL, "IF", "to 0", "r 2", "lava_if", "1"),
]
"""Framework, class, reset, parameters, name of the recording and of the layer in it."""

LAYERS: list[tuple[str, str, str, str, str, str]] = [
    (SPYX, "Linear", "", "bias", "spyx_dense", "layer_1"),
    (SPYX, "Conv", "", "SAME", "spyx_conv", "layer_1"),
    (SPYX, "SumPool, Conv", "", "VALID", "spyx_conv", "layer_4"),
    (SPYX, "Flatten, Linear", "", "channels last", "spyx_conv", "layer_7"),
    (SPYX, "SumPool, Flatten", "", "SAME", "spyx_same", "layer_4"),
    (SPYX, "Flatten, RLIF", "", "", "spyx_recurrent_behind_flatten", "layer_3"),
    (ROCKPOOL, "LinearTorch", "", "bias", "rockpool_spiking", "3_LIFNeuronTorch"),
]


def cells() -> tuple[list[Cell], list[Cell]]:
    """Of neurons, and of layers."""
    return [*(_cell(*row) for row in NEURONS), _of_the_paper()], [_cell(*row) for row in LAYERS]


def _of_the_paper() -> Cell:
    """The LIF of the NIR paper, by Lava's floating point model; its Dense takes a step."""
    folder = DATA.parent / "lif"
    columns = np.loadtxt(folder / "lif_lava_cpu_float.csv", delimiter=",")
    x = columns[None, :, :1].astype(np.uint8)

    def theirs(x: np.ndarray) -> Spikes:
        return {"1": columns[None, : x.shape[1], 2:3]}

    export = partial(read_nir, folder / "lif_norse.nir")
    return Cell(LAVA, "LIF", "to 0", "", export, theirs, x, late=1)


def _cell(framework: str, subject: str, reset: str, parameters: str, name: str, layer: str) -> Cell:
    x, _ = recorded_traces(name)
    export, theirs = partial(_exported, name), partial(_theirs, name, layer)
    # Spyx hands the spikes of the step before on, but for neurons without a reset.
    late = int(framework == SPYX and name != "spyx_psu")
    return Cell(framework, subject, reset, parameters, export, theirs, x, late=late)


def _exported(name: str) -> nir.NIRGraph:
    with TemporaryDirectory() as folder:
        return read_nir(recorded_file(name, Path(folder)))


def _theirs(name: str, layer: str, x: np.ndarray) -> Spikes:
    del x  # it is recorded too
    _, layers = recorded_traces(name)
    node = {"spyx_psu": f"{layer}_threshold"}.get(name, layer)
    recurrent = name in ("spyx_rif", "spyx_rlif", "spyx_rcuba")
    if recurrent or (name, layer) == ("spyx_recurrent_behind_flatten", "layer_3"):
        node = f"{layer}.lif"
    return {node: layers[layer]}
