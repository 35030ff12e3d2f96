"""The network of ReLUs of docs/conversion.md, and its training by torch alone.

    python docs/make_conversion.py mnist.npz ann.pt

takes a minute and a half of one core and writes the weights; ``build`` is what ``convert`` calls.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPOCHS, BATCH = 8, 128


def build() -> nn.Module:
    """Two convolutions with batch norm and a hidden layer, 215,418 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, 2, 2, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 5, 2, 2, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(32 * 7 * 7, 128),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(128, 10),
    )


def trained(x: Tensor, y: Tensor) -> nn.Module:
    """The network after Adam with one cycle of learning rates.

    Args:
        x: (N, 1, 28, 28) from 0 to 1.
        y: (N,) class numbers.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)
    net = build()
    optimiser = torch.optim.Adam(net.parameters())
    steps = EPOCHS * (len(x) // BATCH + 1)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, steps)
    for epoch in range(EPOCHS):
        for chosen in torch.randperm(len(x)).split(BATCH):
            optimiser.zero_grad()
            F.cross_entropy(net(x[chosen]), y[chosen]).backward()
            optimiser.step()
            plan.step()
        print(f"epoch {epoch + 1} of {EPOCHS}", flush=True)
    return net.eval()


def main(data: Path, out: Path) -> None:
    """Train on the file's training images and write the weights."""
    with np.load(data) as held:
        x = torch.tensor(held["x_train"], dtype=torch.float32)[:, None] / 255
        y = torch.tensor(held["y_train"], dtype=torch.int64)
    torch.save(trained(x, y).state_dict(), out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
