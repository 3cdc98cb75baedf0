"""Programs that show zfoo_py at work; `make cluster` runs samples.cluster."""
