"""Captioners: one file for each family of model that writes a sentence about an image."""
