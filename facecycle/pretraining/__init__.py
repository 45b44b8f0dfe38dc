"""Learning: stages of steps over pairs, with checkpoints, metrics and samples."""
