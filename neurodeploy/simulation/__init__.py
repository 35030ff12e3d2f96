"""Engines that run on this machine without Lava: the integer reference and the float network."""
