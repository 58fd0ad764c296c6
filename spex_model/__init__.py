"""SPEX: a vision-language model for land cover extraction, its training and its serving."""
