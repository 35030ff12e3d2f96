"""Run network.net, beside this file, with lava-dl: on Loihi 2 where there is one, else on the CPU.

    python run_netx.py SAMPLES.npz [--limit N] [--cpu] [--out RESULTS.npz]

Needs lava-nc 0.10.0 and lava-dl 0.6.0, and for the chip Intel's lava-loihi; not neurodeploy, which
wrote this folder. manifest.json says how the network is to be run.

SAMPLES.npz holds x, spikes or graded integers of every step (N, T, *input), or the integers of a
direct encoder (N, *input), and classes y if known. A trace that neurodeploy's simulation wrote will
do as well: the output spikes in it are then compared with those found here.

A network with recurrent connections, delays, sigma-delta neurons or an input layer driven through
its biases is built anew for each sample, because nothing on the chip empties it in between.
"""

# Not even from __future__, which is a file like others, before the path is right.
import os
import sys

if __name__ == "__main__":
    # Python looks into the folder of a script first: a numpy.py in it would be taken for numpy.
    here = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != here]

import argparse
import dataclasses
import hashlib
import importlib
import json
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent


def import_netx() -> Any:
    """lava-dl's reader of .net files."""
    if sys.version_info >= (3, 11):
        # Lava is made for Python 3.10; later ones refuse an unhashable default in its var_model.
        original = dataclasses.dataclass

        def dataclass(cls: Any = None, /, **options: Any) -> Any:
            def decorate(cls: Any) -> Any:
                hashed = {"unsafe_hash": True} if cls.__name__ == "ByteEncoder" else {}
                return original(**hashed, **options)(cls)

            return decorate if cls is None else decorate(cls)

        dataclasses.dataclass = dataclass  # type: ignore[assignment]
        try:
            importlib.import_module("lava.magma.compiler.var_model")
        finally:
            dataclasses.dataclass = original
    ports: Any = importlib.import_module("lava.magma.core.process.ports.ports").ReshapePort
    # Lava reshapes by the name of an argument that numpy 2.5 does not know any more.
    ports.get_transform_func_fwd = lambda port: lambda data: data.reshape(port.shape)
    ports.get_transform_func_bwd = lambda port: lambda data: data.reshape(port.old_shape)
    # netx imports all of lava-dl's training half, and with it OpenCV, for one function that only
    # resonate-and-fire neurons need. Lava imports it again when it builds a network.
    for name in ("slayer", "slayer.neuron", "slayer.neuron.rf"):
        module: Any = types.ModuleType(f"lava.lib.dl.{name}")
        module.__path__ = []
        module.neuron_params = None
        sys.modules[module.__name__] = module
    from lava.lib.dl.netx import hdf5

    layers: Any = hdf5.NetDict
    read = layers.__getitem__

    def read_numbers(layer: Any, key: Any) -> Any:
        found = read(layer, key)
        # Of the array of one that slayer writes here, numpy 2.4 makes no number any more.
        single = key in ("weight", "bias") and read(layer, "type") == "input"
        return found.reshape(()) if single else found

    layers.__getitem__ = read_numbers
    return hdf5


class Runner:
    """Builds and runs the network.

    Args:
        settings: how the network is to be run, from manifest.json.
        on_chip: Loihi 2 rather than the CPU.
    """

    def __init__(self, settings: dict[str, Any], on_chip: bool) -> None:
        self.hdf5 = import_netx()
        self.settings = settings
        self.on_chip = on_chip
        self.steps: int = settings["steps"]
        self.by_v = settings["decode"] != "spike_count"

    def run(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Output spikes (N, T, outputs) of samples (N, T, *input), and v where it is decoded."""
        if not self.settings["rebuild"]:
            return self._run(x)
        runs = [self._run(x[index : index + 1]) for index in range(len(x))]
        v = np.concatenate([v for _, v in runs if v is not None]) if self.by_v else None
        return np.concatenate([spikes for spikes, _ in runs]), v

    def _run(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        from lava.proc.io.sink import RingBuffer

        net = self.hdf5.Network(
            str(FOLDER / "network.net"),
            input_message_bits=self.settings["message_bits"],
            input_shape=tuple(self.settings["input_shape"])[::-1],
            reset_interval=None if self.settings["rebuild"] else self.steps,
            reset_offset=1,  # layer l runs l + 1 steps late, the one before it being the source
            spike_exp=self.settings.get("message_exponent", 6),
        )
        driven = not hasattr(net.in_layer, "synapse")
        late = len(net.layers) - driven
        total = len(x) * self.steps + late
        if driven and hasattr(net.in_layer.neuron, "bias_mant"):
            self._drive(net, x)
        elif driven:
            self._feed(net, x, total, net.in_layer.neuron.a_in, **net.in_layer.transform)
        else:
            self._feed(net, x, total)
        sink = RingBuffer(shape=net.out.shape, buffer=total)
        self._connect(net.out, sink.a_in, None if not self.on_chip else "NxToPyAdapter")
        biases = self._taken_biases(net.layers[driven:]) if self.settings["rebuild"] else []
        try:
            self._start(net, biases, late)
            v = self._advance(net, total - late)
            spikes = np.asarray(sink.data.get())[..., late:]
        finally:
            net.stop()
        axes = len(net.out.shape)
        # Lava's axes are (width, height, channels, time), ours (time, channels, height, width).
        spikes = spikes.transpose(axes, *range(axes - 1, -1, -1)).astype(np.int32)
        return spikes.reshape(len(x), self.steps, -1), v

    def _taken_biases(self, layers: list[Any]) -> list[tuple[Any, np.ndarray]]:
        """Set biases to 0, and return what they were: a layer is to rest until its sample comes."""
        found = []
        for layer in layers:
            bias = getattr(layer.neuron, "bias_mant", None) or getattr(layer.neuron, "bias", None)
            if bias is None:  # a layer that only adds up
                found.append((None, np.zeros(0)))
                continue
            found.append((bias, np.broadcast_to(bias.init, bias.shape).copy()))
            bias.init = np.zeros(bias.shape, np.int32)
        return found

    def _start(self, net: Any, biases: list[tuple[Any, np.ndarray]], late: int) -> None:
        """Run until the sample reaches the last layer, each bias back in time for it."""
        for bias, values in biases:
            self._steps(net, 1)
            if bias is not None:
                bias.set(values)
        self._steps(net, late - len(biases))

    def _advance(self, net: Any, steps: int) -> np.ndarray | None:
        """Run on; reads v of the output at the end of samples, or of steps to be summed."""
        if not self.by_v:
            self._steps(net, steps)
            return None
        stride = 1 if self.settings["decode"] == "sum_v" else self.steps
        found = []
        for _ in range(steps // stride):
            self._steps(net, stride)
            neuron = net.out_layer.neuron
            held = next(getattr(neuron, n) for n in ("v", "act", "sigma") if hasattr(neuron, n))
            v = np.asarray(held.get()).astype(np.int32)
            v = v << 8 >> 8  # the chip gives 24 bits without their sign
            found.append(v.transpose(*range(v.ndim - 1, -1, -1)).ravel())
        by_sample = np.stack(found).reshape(steps // self.steps, -1, found[0].size)
        return by_sample.sum(axis=1, dtype=np.int64)

    def _steps(self, net: Any, steps: int) -> None:
        from lava.magma.core.run_conditions import RunSteps
        from lava.magma.core.run_configs import Loihi2HwCfg, Loihi2SimCfg

        if steps:
            config = (Loihi2HwCfg if self.on_chip else Loihi2SimCfg)(select_tag="fixed_pt")
            net.run(condition=RunSteps(num_steps=steps), run_cfg=config)

    def _feed(
        self, net: Any, x: np.ndarray, total: int, port: Any = None, weight: int = 1, bias: int = 0
    ) -> None:
        """Spikes or values of all samples, one after the other; x weight + bias into a port."""
        from lava.proc.io.source import RingBuffer

        flat = x.reshape(len(x) * self.steps, *net.inp.shape[::-1]) * weight + bias
        data = np.zeros((*net.inp.shape, total), np.int32)
        data[..., : len(flat)] = flat.transpose(*range(flat.ndim - 1, -1, -1))
        source = RingBuffer(data=data)
        image = len(net.inp.shape) == 3
        adapter = "PyToN3ConvAdapter" if image else "PyToNxAdapter"
        target = net.inp if port is None else port
        self._connect(source.s_out, target, adapter if self.on_chip else None)

    def _drive(self, net: Any, x: np.ndarray) -> None:
        """The one sample, which does not change over time, as biases of the input layer."""
        if (x != x[:, :1]).any():
            sys.exit("the input layer is driven by biases, which this script sets once per sample")
        block = net.in_layer
        image = x[0, 0].reshape(block.shape[::-1])
        image = image.transpose(*range(image.ndim - 1, -1, -1))
        block.neuron.bias_mant.init = image * block.transform["weight"] + block.transform["bias"]

    def _connect(self, source: Any, target: Any, adapter: str | None) -> None:
        """Connect ports, through one of lava-loihi's adapters where one of them is on the chip."""
        if adapter is None:
            source.connect(target)
            return
        embedded_io: Any = importlib.import_module("lava.proc.embedded_io")  # of lava-loihi
        options: dict[str, Any] = {"shape": source.shape}
        if adapter != "NxToPyAdapter" and self.settings["message_bits"]:
            options["num_message_bits"] = self.settings["message_bits"]
        between = getattr(embedded_io.spike, adapter)(**options)
        source.connect(between.inp)
        between.out.connect(target)


def read_samples(path: Path, settings: dict[str, Any], limit: int | None) -> dict[str, Any]:
    """Input over time, with labels and expected output spikes where the file has them."""
    names = {
        settings["input"] + ".s": "x",
        settings["output"] + ".s": "expected",
        "x": "x",
        "y": "y",
    }
    if not path.is_file():
        sys.exit(f"{path}: no such file")
    if not zipfile.is_zipfile(path):
        sys.exit(f"{path}: not an .npz file; np.savez writes one")
    with np.load(path, allow_pickle=False) as arrays:
        found: dict[str, Any] = {
            ours: arrays[name] for name, ours in names.items() if name in arrays
        }
        recorded = settings["input"] + ".s" in arrays and "x" not in arrays
    if "x" not in found:
        sys.exit(f"{path}: holds neither 'x' nor {settings['input'] + '.s'!r}")
    found = {name: values[:limit] for name, values in found.items()}
    x, shape, steps = found["x"], tuple(settings["sample_shape"]), settings["steps"]
    if settings.get("biases") and not recorded:
        # Samples are biases of the input layer, or real values; the layer takes them from 0.
        lowest, weight = settings["offset"], settings["levels"] // 2
        if x.dtype.kind == "f":
            x = np.trunc(2 * weight * x.astype(np.float64) - weight + (lowest + weight))
        found["x"] = x = x.astype(np.int64) - lowest
    if x.shape[1:] == shape and settings["static"]:
        found["x"] = np.repeat(x[:, None], steps, axis=1)
    elif x.shape[1:] != (steps, *shape):
        sys.exit(
            f"{path}: x has shape {x.shape}; expected (N, {steps}, {', '.join(map(str, shape))})"
        )
    return found


def read_settings() -> dict[str, Any]:
    """How the network is to be run, from a manifest and a network that are as they were written."""
    manifest = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
    seal = manifest.pop("seal", None)
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    if hashlib.sha256(canonical.encode("ascii")).hexdigest() != seal:
        sys.exit(f"{FOLDER / 'manifest.json'}: changed since the export; export it again")
    found = hashlib.sha256((FOLDER / "network.net").read_bytes()).hexdigest()
    if found != manifest["files"].get("network.net"):
        sys.exit(f"{FOLDER / 'network.net'}: changed since the export; export it again")
    return manifest["netx"]["settings"]


def loihi_2_is_here() -> bool:
    """Whether Intel's lava-loihi is installed."""
    from lava.utils import loihi

    return loihi.is_installed()


def main() -> int:
    """Run the samples, print a class for each, and compare with what is known about them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("samples", type=Path)
    parser.add_argument("--limit", type=int, help="largest number of samples")
    parser.add_argument("--cpu", action="store_true", help="run on the CPU, even beside a Loihi 2")
    parser.add_argument("--out", type=Path, help="write spikes and classes to this .npz")
    arguments = parser.parse_args()
    settings = read_settings()
    samples = read_samples(arguments.samples, settings, arguments.limit)
    on_chip = not arguments.cpu and loihi_2_is_here()
    print(f"Running {len(samples['x'])} samples on {'Loihi 2' if on_chip else 'the CPU'}")
    spikes, v = Runner(settings, on_chip).run(samples["x"])
    counts = spikes.sum(axis=1, dtype=np.int64)
    classes = (counts if v is None else v).argmax(axis=1)
    for index, (found, spiked) in enumerate(zip(classes, counts, strict=True)):
        print(f"sample {index}: class {found}, output spikes {spiked.tolist()}")
    if arguments.out:
        np.savez(arguments.out, spikes=spikes, classes=classes, **({} if v is None else {"v": v}))
    if "y" in samples:
        print(f"Accuracy {(classes == samples['y']).mean():.2%}")
    if "expected" in samples:
        differ = int((spikes != samples["expected"].reshape(spikes.shape)).sum())
        print(f"{differ} of {spikes.size:,} output spikes differ from those in the file")
        return int(differ > 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
