"""Import of a large NIR file in a process of its own: ``python -m support.nir_size FILE``.

Prints one JSON object: seconds from the file to the network, and the most memory taken, both with
and without what Python and the libraries take before. With ``--write`` it writes the file: a
convolutional network of 5 million weights and 250,000 neurons, as VGG for 32 x 32 pixels is. With
``--chain`` the file is a chain of 800 nodes with four neurons or weights for four.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from pathlib import Path

import nir
import numpy as np

from neurodeploy.bench.process import high_water_mb

CHANNELS = ((64, 64), (128, 128), (256, 256), (512, 512))


def vgg() -> nir.NIRGraph:
    """Input, convolutions with LIF behind each, average pooling between stages, a dense layer."""
    rng = np.random.default_rng(0)
    nodes: dict[str, nir.NIRNode] = {"input": nir.Input({"input": np.array([3, 32, 32])})}
    channels, size = 3, 32
    for number, stage in enumerate(CHANNELS):
        for out in stage:
            weight = rng.normal(0, 0.05, (out, channels, 3, 3)).astype(np.float32)
            bias = np.zeros(out, np.float32)
            nodes[f"conv{len(nodes)}"] = nir.Conv2d((size, size), weight, 1, 1, 1, 1, bias)
            nodes[f"lif{len(nodes)}"] = lif((out, size, size))
            channels = out
        pair = np.array([2, 2])
        nodes[f"pool{number}"] = nir.AvgPool2d(pair, pair, np.array([0, 0]))
        size //= 2
    inputs = channels * size * size
    nodes["flat"] = nir.Flatten({"input": np.array([channels, size, size])}, 0)
    fc = rng.normal(0, 0.02, (256, inputs)).astype(np.float32)
    nodes |= {"fc": nir.Affine(fc, np.zeros(256, np.float32)), "lif_fc": lif((256,))}
    weight = rng.normal(0, 0.02, (100, 256)).astype(np.float32)
    nodes |= {"out": nir.Affine(weight, np.zeros(100, np.float32)), "lif_out": lif((100,))}
    nodes["output"] = nir.Output({"output": np.array([100])})
    return nir.NIRGraph(nodes, list(itertools.pairwise(nodes)), {}, type_check=False)


def long_chain(pairs: int) -> nir.NIRGraph:
    """Input, pairs of a dense layer and LIF, output; four wide."""
    nodes: dict[str, nir.NIRNode] = {"input": nir.Input({"input": np.array([4])})}
    for number in range(pairs):
        nodes[f"fc{number}"] = nir.Affine(np.eye(4, dtype=np.float32), np.zeros(4, np.float32))
        nodes[f"lif{number}"] = lif((4,))
    nodes["output"] = nir.Output({"output": np.array([4])})
    return nir.NIRGraph(nodes, list(itertools.pairwise(nodes)), {}, type_check=False)


def lif(shape: tuple[int, ...]) -> nir.LIF:
    def full(value: float) -> np.ndarray:
        return np.full(shape, value, np.float32)

    return nir.LIF(full(2e-4), full(2.0), full(0.0), full(1.0), full(0.0))


def weights(graph: nir.NIRGraph) -> int:
    return sum(np.size(getattr(node, "weight", ())) for node in graph.nodes.values())


def main(path: Path) -> dict[str, float]:
    from neurodeploy.interchange.nir.importing import import_nir

    before, start = high_water_mb(), time.perf_counter()
    imported = import_nir(path, framework="spikingjelly", steps=4)
    seconds = time.perf_counter() - start
    neurons = sum(int(np.prod(p.shape)) for p in imported.network.populations if p.neuron)
    return {"seconds": seconds, "before": before, "megabytes": high_water_mb(), "neurons": neurons}


if __name__ == "__main__":
    if sys.argv[1] == "--write":
        nir.write(sys.argv[2], vgg())
        print(json.dumps({"weights": weights(vgg())}))
    elif sys.argv[1] == "--chain":
        nir.write(sys.argv[2], long_chain(400))
        print(json.dumps({"weights": weights(long_chain(400))}))
    else:
        print(json.dumps(main(Path(sys.argv[1]))))
