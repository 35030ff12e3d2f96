"""Lava processes around those of ``lava.proc.clp``; see ``neurodeploy.lava.processes``."""
