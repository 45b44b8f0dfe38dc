"""Faces with an emotion."""
