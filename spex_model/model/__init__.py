"""The SPEX network: spectral encoder, multiscale aggregation, token context condensation, mask decoder."""
