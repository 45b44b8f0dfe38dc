"""Detectors: where the faces of an image are."""
