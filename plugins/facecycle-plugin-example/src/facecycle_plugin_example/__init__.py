"""An encoder, a warper, a loss and a detector for facecycle."""
