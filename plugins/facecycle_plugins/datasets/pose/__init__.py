"""Faces with a head pose."""
