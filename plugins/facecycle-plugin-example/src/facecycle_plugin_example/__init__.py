"""An encoder, a warper and a loss for facecycle."""
