"""Warpers: resampling by a flow, and re-normalization."""
