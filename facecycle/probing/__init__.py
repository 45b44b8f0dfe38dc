"""Frozen features, scored under a named protocol; and codes of many images in one file."""
