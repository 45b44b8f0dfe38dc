"""Tracks in tar files, for storage that is larger or slower than a disk."""
