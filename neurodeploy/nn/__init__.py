"""Layers, neurons and networks for torch."""
