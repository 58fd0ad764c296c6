"""From measured facts to words, and the check that holds the model's words to them."""
