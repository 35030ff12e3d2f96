"""Numbers on their way to integers of a format.

With the scale S of the target population (activation units per unit of the float network) and an
exponent e, a weight w becomes q = clip(round(w r / step)) step with the ratio r = S / 2^e.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.target import Target

GRID_NOISE = 1e-5
"""Share of the largest weight by which weights may miss a grid that they are said to lie on."""


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of a projection and what their scale depends on.

    Attributes:
        weights: per unit of the source's integers.
        weight_format: which integers they may become.
        payload: largest integer a source spike carries.
        rows: neurons with weights of their own: one per output, or per channel of a convolution.
        bound: largest activation per unit of scale.
    """

    weights: np.ndarray
    weight_format: WeightFormat
    payload: int
    rows: int
    bound: float

    @property
    def full_ratio(self) -> float:
        """The ratio at which the largest weight just fills its format; infinite for all zeros."""
        return self.ratio_for(
            float(self.weights.max(initial=0)), float(self.weights.min(initial=0))
        )

    def ratio_for(self, highest: float, lowest: float) -> float:
        """The largest ratio at which neither of these weights is clipped."""
        up = self.weight_format.maximum / highest if highest > 0 else math.inf
        down = self.weight_format.minimum / lowest if lowest < 0 else math.inf
        return min(up, down)

    @property
    def largest(self) -> float:
        """The largest magnitude of a weight."""
        return float(np.abs(self.weights).max(initial=0))

    def lossless_ratio(self) -> float | None:
        """The ratio at which all weights are integers of the format, if there is one.

        Only weights that take few values can be on a grid; its step is looked for among their
        differences. float32 noise is allowed.
        """
        most = (self.weight_format.maximum - self.weight_format.minimum) // self.weight_format.step
        values = np.unique(np.append(self.weights, 0.0))
        gaps = np.diff(values)
        gaps = gaps[gaps > GRID_NOISE * self.largest]
        if not 0 < gaps.size <= 2 * most:
            return None
        ratio = self.weight_format.step / float(gaps.min())
        # The smallest gap carries the most noise: take the step that fits all weights best.
        whole = np.rint(values * ratio / self.weight_format.step)
        ratio = self.weight_format.step * float(whole @ whole) / float(whole @ values)
        exact, clipped = self.rounded(values, ratio)
        off = np.abs(exact - values * ratio).max() > GRID_NOISE * 256
        return None if off or (exact != clipped).any() else ratio

    def spare_bits(self, target: Target) -> int:
        """Right shifts of the accumulated activation that cost less than a weight's last bit.

        Graded spikes multiply weights by up to ``payload``, so that many low bits say nothing.
        """
        return min(int(math.log2(self.payload)), max(-target.synapse.weight_exponent_min.value, 0))

    def exponent_at(self, scale: float, ratio: float, target: Target) -> int:
        """The smallest exponent at which the weights are multiplied by no more than ``ratio``.

        It is negative where graded input pays for that, and where thresholds keep the scale so low
        that the weights would not fill their format.
        """
        if not math.isfinite(ratio):
            return 0
        shift = math.log2(scale) - math.log2(ratio)
        return max(target.synapse.weight_exponent_min.value, math.ceil(shift - 1e-9))

    def rounded(self, weights: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray]:
        """Integers nearest to ``weights`` times ``ratio``, before and after clipping."""
        step = self.weight_format.step
        exact = np.rint(weights * (ratio / step)) * step
        return exact, np.clip(exact, self.weight_format.minimum, self.weight_format.maximum)
