"""What plans do: find land cover, refine masks, arrange layers, compare images."""
