"""Images, tracks, pairs and transforms: bytes to normalised batches."""
