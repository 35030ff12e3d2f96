"""Files, schemas, versions, processes and memory: what every room stands on."""
