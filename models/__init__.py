"""Built-in training recipes, one TOML each."""
