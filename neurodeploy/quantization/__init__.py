"""From a float network to the target's integers."""
