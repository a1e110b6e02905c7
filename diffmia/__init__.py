"""diffmia: a benchmark of membership inference attacks on diffusion models."""

__version__ = "0.1.0"
