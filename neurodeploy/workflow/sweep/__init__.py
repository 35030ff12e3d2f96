"""Sweeps: a recipe trained with many settings, in a grid or by a search, in a kept folder."""
