"""Learning of a deployment on the chip: from its samples to a deployment that has learned."""
