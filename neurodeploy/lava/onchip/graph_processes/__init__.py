"""A process that holds a whole network; see ``neurodeploy.lava.processes`` for its folder."""
