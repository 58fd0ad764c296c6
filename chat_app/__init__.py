"""SPEX chat: a conversation that extracts land cover from images, refines it and measures it.

The package talks to the model through `spex_model.serving` only and never imports torch.
"""
