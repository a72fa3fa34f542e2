"""How well trained networks do on trees of frames, and the report's study side by side."""
