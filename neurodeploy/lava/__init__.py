"""The boundary to Intel's archived Lava simulator: the only room that imports it.

Importing this package, ``compat`` or ``runtime`` loads nothing of Lava.
"""
