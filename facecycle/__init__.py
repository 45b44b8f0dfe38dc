"""facecycle: facial representations from cycle consistency, with every part a plugin."""
