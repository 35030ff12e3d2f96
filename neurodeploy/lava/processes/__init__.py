"""Lava processes of this project: neurons beyond Lava's own, and input and recording.

Lava looks for the models of a process by running every file in its folder, so this package holds
``process.py`` and ``models.py`` and nothing else. Import them only after ``compat.require_lava``.
"""
