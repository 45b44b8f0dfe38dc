"""Pairs of faces of one person or two."""
