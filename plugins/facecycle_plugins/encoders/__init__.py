"""Encoders: images to feature maps."""
