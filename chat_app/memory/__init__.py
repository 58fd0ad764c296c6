"""What a conversation remembers: sessions, layers, turns, arrays, and where they are stored."""
