"""From a message to a plan: plain commands by rules, everything looser by the language model, both checked."""
