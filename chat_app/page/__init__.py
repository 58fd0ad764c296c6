"""The Gradio page: what stands on it, what happens on it, and the picture."""
