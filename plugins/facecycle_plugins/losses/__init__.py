"""Losses: predictions that share a target to one value each."""
