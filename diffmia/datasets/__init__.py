"""Datasets: one file for each source of images."""
