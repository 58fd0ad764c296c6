"""An independent check of what descriptions state; shares no code with what writes them."""
