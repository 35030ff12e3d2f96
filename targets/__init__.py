"""Built-in chips, one TOML each, every figure with its source."""
