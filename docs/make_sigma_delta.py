"""Measure sigma-delta networks of trained ReLUs on MNIST and moving digits, for docs/conversion.md.

    .venv/bin/python docs/make_sigma_delta.py mnist.npz FOLDER

Trains a network for each on one core, some minutes, unless FOLDER has its weights, and writes the
table of docs/conversion.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from make_learning import write_between
from torch import Tensor, nn

import neurodeploy as nd
from neurodeploy.interchange.sigma_delta import share_of_dense, within
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.workflow.samples import array_samples

PAGE = Path(__file__).parent / "conversion.md"
DEVIATIONS = (0.0, 0.02, 0.05, 0.1)
EPOCHS = 6
SIDE, DIGIT, FRAMES = 32, 14, 20
FILMS = 500


def classifier() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.AvgPool2d(2), nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)),
        *(nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU()),
        *(nn.Dropout(0.3), nn.Linear(128, 10)),
    )


def tracker() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 5, 2, 2), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(16 * 64, 64), nn.ReLU(), nn.Linear(64, 2)),
    )


def trained(net: nn.Module, file: Path, batches: Digits | Places, loss: Any) -> nn.Module:
    """The module with the weights of a file, which are trained and written when there is none."""
    if not file.is_file():
        optimizer = torch.optim.Adam(net.parameters(), 2e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=len(batches))
        for x, y in batches:
            optimizer.zero_grad()
            loss(net(x), y).backward()
            optimizer.step()
            schedule.step()
        torch.save(net.state_dict(), file)
    net.load_state_dict(torch.load(file, weights_only=True))
    return net.eval()


class Digits:
    """MNIST for some epochs, each batch shifted by up to two pixels."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = torch.from_numpy(x[:, None]), torch.from_numpy(y.astype(np.int64))

    def __len__(self) -> int:
        return EPOCHS * len(self.x) // 100

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(EPOCHS):
            for chosen in torch.randperm(len(self.x)).split(100):
                down, right = torch.randint(-2, 3, (2,)).tolist()
                yield self.x[chosen].roll((down, right), (2, 3)) / 255, self.y[chosen]


class Places:
    """Single frames of moving digits, with where the digit is."""

    def __init__(self, digits: np.ndarray) -> None:
        self.digits, self.rng = digits, np.random.default_rng(0)

    def __len__(self) -> int:
        return 1500

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(len(self)):
            x, y = films(self.digits, 64, 1, self.rng)
            yield torch.from_numpy(x[:, 0]) / 255, torch.from_numpy(y[:, 0])


def films(
    digits: np.ndarray, count: int, frames: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Digits that move up to a pixel a frame in each direction and turn round at the border.

    Returns:
        (count, frames, 1, 32, 32) uint8, and (count, frames, 2) row and column, from 0 to 1.
    """
    room = SIDE - DIGIT
    x = np.zeros((count, frames, 1, SIDE, SIDE), np.uint8)
    y = np.zeros((count, frames, 2), np.float32)
    shown = digits[rng.integers(0, len(digits), count)]
    place, speed = rng.uniform(0, room, (count, 2)), rng.uniform(-1, 1, (count, 2))
    for t in range(frames):
        corner = np.rint(place).astype(int)
        for film, digit, (row, column) in zip(x, shown, corner, strict=True):
            film[t, 0, row : row + DIGIT, column : column + DIGIT] = digit
        y[:, t] = corner / room
        place += speed
        speed[(place < 0) | (place > room)] *= -1
        place = place.clip(0, room)
    return x, y


def small(images: np.ndarray) -> np.ndarray:
    """(N, 28, 28) to (N, 14, 14), the mean of four pixels each."""
    return images.reshape(-1, DIGIT, 2, DIGIT, 2).mean((2, 4))


def run(network: QuantizedNetwork, x: np.ndarray) -> tuple[np.ndarray, float]:
    """Outputs (N, T, outputs), and synaptic operations as a share of a dense network's."""
    samples = array_samples(x, None, network, where="samples")
    outputs: list[np.ndarray] = []
    sent = {p.name: np.zeros(p.shape, np.int64) for p in network.populations}
    engine = ReferenceEngine(network)
    for _, trace in engine.run(samples.batches(100)):
        v = trace.populations[network.output].v
        assert v is not None
        outputs.append(v / network.population(network.output).state_unit)
        for name, record in trace.populations.items():
            sent[name] += np.count_nonzero(record.s, axis=(0, 1))
    assert engine.overflow.total == 0, engine.overflow
    return np.concatenate(outputs), share_of_dense(
        network, sent, samples.count * network.contract.steps
    )


def rows(
    name: str, net: nn.Module, calibration: np.ndarray, x: np.ndarray, score: Any
) -> Iterator[str]:
    """A line for the network in floats, and one for each deviation that is allowed."""
    with torch.no_grad():
        frames = torch.from_numpy(x.reshape(-1, *x.shape[-3:]))
        floats = torch.cat([net(part / 255) for part in frames.split(500)]).numpy()
    yield f"| {name} | in floats | | {score(floats)} | 100 % |"
    relus = nd.from_torch(net, x.shape[-3:], levels=255)
    trades = relus.sigma_delta_trades(calibration)
    for deviation in DEVIATIONS:
        trade = within(trades, deviation)
        network = relus.as_sigma_delta(calibration, factor=trade.factor)
        integers = nd.quantize(network, "loihi2", 8, calibration=calibration)
        outputs, share = run(integers, x)
        found = score(outputs.reshape(floats.shape))
        yield f"| {name} | {deviation:g} | {trade.factor:.4f} | {found} | {share:.1%} |"


def main(data: Path, folder: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    folder.mkdir(exist_ok=True)
    with np.load(data) as arrays:
        mnist = {name: arrays[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    digits = Digits(mnist["x_train"], mnist["y_train"])
    net = trained(classifier(), folder / "mnist.pt", digits, F.cross_entropy)
    lines = [
        "| | deviation allowed | factor | result | synaptic operations |",
        "|---|---|---|---|---|",
    ]

    def accuracy(outputs: np.ndarray) -> str:
        return f"{(outputs.argmax(1) == mnist['y_test']).mean():.2%}"

    for line in rows(
        "MNIST", net, mnist["x_train"][:128, None], mnist["x_test"][:, None], accuracy
    ):
        print(line, flush=True)
        lines.append(line)

    places = Places(small(mnist["x_train"]))
    net = trained(tracker(), folder / "places.pt", places, F.mse_loss)
    x, y = films(small(mnist["x_test"]), FILMS, FRAMES, np.random.default_rng(1))
    calibration, _ = films(places.digits, 24, FRAMES, np.random.default_rng(2))

    def pixels(outputs: np.ndarray) -> str:
        off = np.sqrt(((outputs - y.reshape(outputs.shape)) ** 2).mean()) * (SIDE - DIGIT)
        return f"{off:.3f} pixels off"

    for line in rows("moving digits", net, calibration, x, pixels):
        print(line, flush=True)
        lines.append(line)
    write_between(PAGE, "sigma-delta", "\n".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
