"""What leaves the chat as files: layers, changes, whole sessions, recipes."""
