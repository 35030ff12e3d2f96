"""Record what Spyx, Rockpool, Nengo and lava-dl compute, with the files of their exporters.

Run as ``python record.py spyx`` (or ``rockpool``, ``nengo``, ``lava``) in an environment that has
that package. Writes for each network its file, packed, and its traces as ``.npz``, beside this
script: ``x`` (N, T, ...) in the order of the file, and the spikes of every layer of neurons, or the
potential of a readout, (N, T, ...), under the layer's name, all with channels first.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import nir
import numpy as np

HERE = Path(__file__).parent
SAMPLES, STEPS = 2, 24


def on_grid(shape: tuple[int, ...], seed: int, step: float, largest: int = 8) -> np.ndarray:
    """Small multiples of ``step``, more of them positive, so that sums are exact in float32."""
    rng = np.random.default_rng(seed)
    return (rng.integers(-largest // 2, largest + 1, shape) * step).astype(np.float32)


def spikes(*shape: int, seed: int, rate: float = 0.4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random((SAMPLES, STEPS, *shape)) < rate).astype(np.uint8)


def save(name: str, graph: Any, x: np.ndarray, layers: dict[str, np.ndarray]) -> None:
    def plain(value: Any) -> Any:
        return value.detach().numpy() if hasattr(value, "detach") else value

    for node in graph.nodes.values():
        for field, value in vars(node).items():
            setattr(node, field, plain(value))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.nir"
        plainly: Any = {"compression": None}  # which single numbers need
        nir.write(path, graph, **plainly)
        (HERE / f"{name}.nir.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
    np.savez_compressed(HERE / f"{name}.npz", x=x, **layers)
    rates = {layer: round(float(np.mean(found)), 3) for layer, found in layers.items()}
    print(name, x.shape, rates)


# --- Spyx ---


def spyx() -> None:
    nn: Any = import_module("spyx.nn")
    nnx: Any = import_module("flax.nnx")
    jnp: Any = import_module("jax.numpy")
    to_nir: Any = import_module("spyx.nir").to_nir
    rngs = nnx.Rngs(0)

    def linear(inputs: int, outputs: int, seed: int, step: float, bias: bool = False) -> Any:
        layer = nnx.Linear(inputs, outputs, use_bias=bias, rngs=rngs)
        layer.kernel[...] = jnp.asarray(on_grid((inputs, outputs), seed, step))
        if bias:
            layer.bias[...] = jnp.asarray(on_grid((outputs,), seed + 100, step / 2))
        return layer

    def conv(
        inputs: int, outputs: int, kernel: int, stride: int, padding: str, seed: int, step: float
    ) -> Any:
        layer = nnx.Conv(
            inputs, outputs, (kernel, kernel), strides=(stride, stride), padding=padding, rngs=rngs
        )
        layer.kernel[...] = jnp.asarray(on_grid((kernel, kernel, inputs, outputs), seed, step))
        layer.bias[...] = jnp.asarray(on_grid((outputs,), seed + 100, step / 4))
        return layer

    def learned(layer: Any, seed: int) -> Any:
        """With a decay per neuron, some beyond 0 and 1, which clip."""
        values = np.array([0.5, 0.75, 0.25, 0.875, 1.0, -0.25], np.float32)
        for at, name in enumerate(("alpha", "beta")):
            if hasattr(layer, name):
                parameter = getattr(layer, name)
                rng = np.random.default_rng(seed + at)
                parameter[...] = jnp.asarray(rng.choice(values[: 4 if at else 3], parameter.shape))
        return layer

    def record(
        name: str, shape: tuple[int, ...], seed: int, *layers: Any, rate: float = 0.4
    ) -> None:
        x = spikes(*shape, seed=seed, rate=rate)
        run = np.moveaxis(x, 2, -1) if len(shape) == 3 else x
        model = nn.Sequential(*layers)
        found: dict[str, list[np.ndarray]] = {}
        state, values = model.initial_state(SAMPLES), jnp.zeros(0)
        for t in range(STEPS):
            image = None  # rows, columns and channels of what was flattened, up to the next Linear
            values = jnp.asarray(run[:, t], jnp.float32)
            new = []
            for index, (layer, before) in enumerate(zip(model.layers, state, strict=True)):
                if before is None:
                    image = values.shape[1:] if isinstance(layer, nn.Flatten) else None
                    values = layer(values)
                    new.append(None)
                    continue
                values, after = layer(values, before)
                new.append(after)
                out = np.asarray(values)
                out = out.reshape(SAMPLES, *image) if image else out
                out = np.moveaxis(out, -1, 1) if out.ndim == 4 else out
                out = out.reshape(SAMPLES, -1) if image else out
                found.setdefault(f"layer_{index}", []).append(out.astype(np.uint8))
            state = new
        ends = {"input": np.array(shape)}, {"output": np.array(values.shape[1:])}
        graph = to_nir(model, *ends)
        save(f"spyx_{name}", graph, x, {key: np.stack(out, 1) for key, out in found.items()})

    record(
        "dense",
        (6,),
        1,
        linear(6, 8, 2, 0.25, bias=True),
        learned(nn.LIF((8,), rngs=rngs), 3),
        linear(8, 6, 4, 0.25),
        learned(nn.CuBaLIF((6,), threshold=1.5, rngs=rngs), 5),
        linear(6, 4, 6, 0.25),
        nn.IF((4,), threshold=2.0),
    )
    record(
        "conv",
        (2, 6, 5),
        7,
        conv(2, 3, 3, 1, "SAME", 8, 0.25),
        nn.LIF((6, 5, 3), beta=0.5, rngs=rngs),
        nn.SumPool((2, 2), (2, 2), "VALID"),
        conv(3, 4, 2, 1, "VALID", 9, 0.25),
        nn.IF((2, 1, 4), threshold=1.5),
        nn.Flatten(),
        linear(8, 5, 10, 0.5),
        nn.LIF((5,), beta=0.75, rngs=rngs),
        rate=0.25,
    )
    record(
        "same",
        (2, 7, 6),
        11,
        conv(2, 3, 4, 1, "SAME", 12, 0.125),
        nn.LIF((7, 6, 3), beta=0.5, rngs=rngs),
        nn.SumPool((2, 3), (2, 2), "SAME"),
        nn.Flatten(),
        learned(nn.LIF((36,), threshold=2.0, rngs=rngs), 13),
        linear(36, 5, 14, 0.25),
        learned(nn.CuBaLIF((5,), threshold=2.0, rngs=rngs), 15),
        rate=0.25,
    )
    for name, make in (
        ("rif", lambda: nn.RIF((6,), threshold=2.0, rngs=rngs)),
        ("rlif", lambda: learned(nn.RLIF((6,), rngs=rngs), 20)),
        ("rcuba", lambda: learned(nn.RCuBaLIF((6,), threshold=2.0, rngs=rngs), 22)),
    ):
        layer = make()
        layer.recurrent_w[...] = jnp.asarray(on_grid((6, 6), 23, 0.125))
        record(name, (4,), 24, linear(4, 6, 25, 0.25), layer, linear(6, 3, 26, 0.5), nn.IF((3,)))
    layer = learned(nn.RLIF((12,), rngs=rngs), 27)
    layer.recurrent_w[...] = jnp.asarray(on_grid((12, 12), 28, 0.125))
    record(
        "recurrent_behind_flatten",
        (2, 3, 2),
        29,
        conv(2, 2, 1, 1, "VALID", 30, 0.5),
        nn.LIF((3, 2, 2), beta=0.5, rngs=rngs),
        nn.Flatten(),
        layer,
        linear(12, 3, 31, 0.25),
        nn.IF((3,)),
    )
    record("psu", (4,), 32, linear(4, 6, 33, 0.25), learned(nn.PSU_LIF((6,), rngs=rngs), 34))


# --- Rockpool ---


def rockpool() -> None:
    torch: Any = import_module("torch")
    modules: Any = import_module("rockpool.nn.modules.torch")
    sequential: Any = import_module("rockpool.nn.combinators").Sequential
    to_nir: Any = import_module("rockpool.nn.modules.torch.nir").to_nir

    def linear(inputs: int, outputs: int, seed: int, step: float, bias: bool = False) -> Any:
        values = {"weight": torch.from_numpy(on_grid((inputs, outputs), seed, step))}
        if bias:
            values["bias"] = torch.from_numpy(on_grid((outputs,), seed + 100, step / 2))
        return modules.LinearTorch((inputs, outputs), has_bias=bias, **values)

    def record(name: str, size: int, seed: int, *layers: Any) -> None:
        network = sequential(*layers)
        x = spikes(size, seed=seed)
        graph = to_nir(network, torch.zeros(1, 1, size))
        found = {}
        values = torch.from_numpy(x).float()
        with torch.no_grad():
            for key, layer in network.named_children():
                layer.reset_state()
                values, _, _ = layer(values)
                if "Linear" not in key:
                    found[key] = values.numpy().copy()
        save(f"rockpool_{name}", graph, x, found)  # spikes as they come, several in a step too

    dt = 2e-3
    tau = torch.tensor(np.linspace(8, 30, 8) * dt).float()
    record(
        "spiking",
        6,
        1,
        linear(6, 8, 2, 0.02),
        modules.LIFTorch((8, 8), tau_mem=tau, tau_syn=tau / 2, threshold=3.0, dt=dt),
        linear(8, 5, 3, 0.04, bias=True),
        modules.LIFNeuronTorch((5,), tau_mem=12 * dt, threshold=0.7, dt=dt),
    )
    record(
        "readout",
        6,
        4,
        linear(6, 8, 5, 0.02),
        modules.LIFTorch((8, 8), tau_mem=10 * dt, tau_syn=6 * dt, threshold=3.0, dt=dt),
        linear(8, 3, 6, 0.2),
        modules.ExpSynTorch((3,), tau=9 * dt, dt=dt),
    )


# --- Nengo, which reads NIR by a script ---


def nengo() -> None:
    """Networks as ``paper/nir_to_nengo.py`` of neuromorphs/NIR builds them, node by node."""
    engine: Any = import_module("nengo")
    dt = 1e-3

    class IF(engine.SpikingRectifiedLinear):
        """The script's own: any charge beyond the threshold is lost."""

        def step(self, dt: float, J: Any, output: Any, voltage: Any) -> None:
            voltage += J * dt
            output[:] = (self.amplitude / dt) * np.where(voltage > 1, 1, 0)
            voltage[output > 0] = 0

    def ensemble(neuron: Any, gain: Any, size: int) -> Any:
        made = engine.Ensemble(
            n_neurons=size,
            dimensions=1,
            neuron_type=neuron,
            gain=np.ones(size) * gain,
            bias=np.zeros(size),
        )
        return made.neurons

    def at_rest() -> dict[str, Any]:
        return {"voltage": engine.dists.Choice([0])}

    def record(
        name: str, node: Any, weights: np.ndarray, make: Callable[[], Any], low: Any
    ) -> None:
        """One layer of weights before one layer of neurons."""
        x = spikes(weights.shape[1], seed=3)
        size = len(weights)
        found = []
        for sample in x.astype(float):
            with engine.Network() as network:
                source = engine.Node(lambda t, s=sample: s[min(round(t / dt), STEPS) - 1])
                affine = engine.Node(lambda t, v: weights @ v, size_in=weights.shape[1])
                neurons = make()
                engine.Connection(source, affine, synapse=None)
                engine.Connection(affine, neurons, synapse=low)
                probe = engine.Probe(neurons)
            with engine.Simulator(network, dt=dt, progress_bar=False) as simulator:
                simulator.run_steps(STEPS)
            found.append(simulator.data[probe].reshape(STEPS, size))
        graph = nir.NIRGraph(
            {
                "input": nir.Input({"input": np.array([weights.shape[1]])}),
                "0": nir.Linear(weights),
                "1": node,
                "output": nir.Output({"output": np.array([size])}),
            },
            [("input", "0"), ("0", "1"), ("1", "output")],
        )
        save(f"nengo_{name}", graph, x, {"1": np.stack(found)})

    weights = np.abs(np.random.default_rng(4).normal(0.3, 0.3, (5, 4)))
    one = np.ones(5)
    lif = nir.LIF(tau=6 * dt * one, r=one, v_leak=0 * one, v_threshold=0.2 * one)
    record(
        "lif",
        lif,
        weights,
        lambda: ensemble(
            engine.LIF(tau_rc=6 * dt, tau_ref=0, amplitude=dt, initial_state=at_rest()), 5, 5
        ),
        None,
    )
    counting = nir.IF(r=one, v_threshold=1.5 * one)
    record(
        "if",
        counting,
        weights,
        lambda: ensemble(IF(initial_state=at_rest(), amplitude=dt), 1 / 1.5 / dt, 5),
        None,
    )
    cuba = nir.CubaLIF(
        tau_syn=5 * dt * one,
        tau_mem=10 * dt * one,
        r=2 * one,
        v_leak=0 * one,
        v_threshold=0.25 * one,
        w_in=3 * one,
    )
    low = engine.synapses.Lowpass(-dt / np.log(1 - 1 / 5))
    record(
        "cuba",
        cuba,
        weights,
        lambda: ensemble(
            engine.LIF(tau_rc=10 * dt, tau_ref=0, amplitude=dt, initial_state=at_rest()),
            3 * 2 / 0.25,
            5,
        ),
        low,
    )
    readout = nir.LI(tau=7 * dt * one, r=one, v_leak=0 * one)
    record(
        "readout",
        readout,
        weights,
        lambda: engine.Node(None, size_in=5),
        engine.synapses.Lowpass(7 * dt),
    )


# --- lava-dl, which the script of the NIR paper reads NIR into ---


def lava() -> None:
    """Neurons as ``paper/nir_to_lava.py`` of neuromorphs/NIR makes them for lava-dl."""
    torch: Any = import_module("torch")
    # Of the package, only this part wants OpenCV.
    unwanted = "lava.lib.dl.slayer.object_detection"
    sys.modules[unwanted] = ModuleType(unwanted)
    slayer: Any = import_module("lava.lib.dl.slayer")
    dt, one = 1e-4, np.ones(5)
    weights = on_grid((5, 4), 4, 1 / 16)

    def record(name: str, node: Any, factor: float, **how: float) -> None:
        x = spikes(4, seed=5)
        neuron = slayer.neuron.cuba.Neuron(**how)
        current = np.moveaxis(x @ (factor * weights).T, 1, -1)  # time last
        with torch.no_grad():
            found = neuron(torch.from_numpy(current).float()).numpy()
        graph = nir.NIRGraph(
            {
                "input": nir.Input({"input": np.array([4])}),
                "0": nir.Linear(weights),
                "1": node,
                "output": nir.Output({"output": np.array([5])}),
            },
            [("input", "0"), ("0", "1"), ("1", "output")],
        )
        save(f"lava_{name}", graph, x, {"1": np.moveaxis(found, -1, 1)})

    for name, w_in in (("cuba", 2.0), ("cuba_scaled", 3.0)):
        node = nir.CubaLIF(
            tau_syn=2 * dt * one,
            tau_mem=4 * dt * one,
            r=4 * one,
            v_leak=0 * one,
            v_threshold=one,
            w_in=w_in * one,
        )
        how = {"threshold": 1.0, "current_decay": 0.5, "voltage_decay": 0.25, "scale": 64}
        record(name, node, w_in / 2, **how)
    # No sum of weights meets this threshold, where lava-dl's IF fires as well.
    counting = nir.IF(r=2 * one, v_threshold=0.76 * one)
    record("if", counting, 1.0, threshold=1.52, current_decay=1.0, voltage_decay=0.0, scale=4096)


RECORDERS: dict[str, Callable[[], None]] = {
    "spyx": spyx,
    "rockpool": rockpool,
    "nengo": nengo,
    "lava": lava,
}

if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        RECORDERS[wanted]()
