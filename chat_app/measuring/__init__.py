"""How good and how fast whole conversations are: dialogues, descriptions, load."""
