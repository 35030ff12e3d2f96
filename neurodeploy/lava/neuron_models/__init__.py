"""Lava processes of neuron models beside the leaky one, a file for each file of ``neurons``.

Each has ``Neurons``, a process made from a population's integers, and ``PyNeuronsModel``, its
model. Lava looks for the models of a process by running every file in its folder, so nothing else
is here. Import them only after ``compat.require_lava``.
"""
