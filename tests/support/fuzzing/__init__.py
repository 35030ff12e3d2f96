"""Damages every kind of file that the product reads, and looks at what its commands make of it."""
