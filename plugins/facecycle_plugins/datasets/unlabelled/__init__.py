"""Tracks and stills without labels, to pretrain on."""
