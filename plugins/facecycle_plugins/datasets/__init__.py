"""Data sets: frames as tracks, or as labelled samples."""
