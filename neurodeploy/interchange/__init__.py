"""Files of other tools: NIR in."""
