"""Data, training and evaluation of the SPEX model."""
