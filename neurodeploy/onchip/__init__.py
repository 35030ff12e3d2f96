"""Online learning on deployed integers: the rule as a chip would compute it, and what it is for.

The integer specification stands in ``docs/learning.md``. ``references`` compute it fast and
layer by layer, ``neurodeploy.lava.onchip`` step by step in Lava; the two share only what a chip's
microcode would be (``arithmetic``) and the constants of ``plan``.
"""
