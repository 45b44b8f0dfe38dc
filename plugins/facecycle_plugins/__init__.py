"""First-party plugins of facecycle, written against `facecycle.api` alone."""
