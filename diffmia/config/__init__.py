"""`config.yaml` as typed, cross-checked values."""
