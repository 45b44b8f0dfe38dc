"""Faces moved: neutral, frontal, mean and swapped."""
