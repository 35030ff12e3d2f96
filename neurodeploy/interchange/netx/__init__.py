"""lava-dl's network exchange format, in and out."""
