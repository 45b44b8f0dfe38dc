"""Weights on disk: written, found, read, inspected, exported, and the authors' imported."""
