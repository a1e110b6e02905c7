"""Captions: what a model is told of an image; one file for each family of captioner."""
