"""Custom ops of facecycle: one folder an op, each with its plain-torch reference."""
