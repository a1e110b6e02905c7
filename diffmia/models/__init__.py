"""Targets: one file for each family of model, which builds, saves and loads a `Denoiser`."""
