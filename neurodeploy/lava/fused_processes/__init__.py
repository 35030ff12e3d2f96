"""The Lava process that holds a whole network; Lava looks for its model in this package alone."""
