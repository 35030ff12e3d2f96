"""Lava processes around ``LearningDense``; see ``neurodeploy.lava.processes`` for their folder."""
