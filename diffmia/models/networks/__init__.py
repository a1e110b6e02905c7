"""Networks behind the `Denoiser` interface; imported by the families only when a model is built or loaded."""
