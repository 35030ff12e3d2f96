"""Learning inside Lava: a process per layer as the proof, one for all layers as the fast form.

What a layer computes is written here once more, step by step and synapse by synapse, beside the
reference in ``neurodeploy.onchip``, so that equal weights mean something.
"""
