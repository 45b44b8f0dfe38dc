"""What computes panels and features: torch's networks, or an exported graph in onnxruntime, which starts at once."""
