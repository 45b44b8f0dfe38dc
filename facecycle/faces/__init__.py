"""A photograph: where its faces are, aligned crops of them, and moved faces back in it."""
