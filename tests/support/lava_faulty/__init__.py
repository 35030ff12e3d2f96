"""Lava processes that misbehave on request; alone here, since Lava runs a process' folder."""
