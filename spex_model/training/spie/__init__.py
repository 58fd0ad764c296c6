"""Spectral instruction data: records made from images with labels, and the descriptions that the model learns."""
