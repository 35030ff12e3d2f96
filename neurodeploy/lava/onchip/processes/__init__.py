"""Lava processes that learn; see ``neurodeploy.lava.processes`` for why they are alone here."""
