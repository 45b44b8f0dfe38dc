"""What commands run: pretrain, translate and probe, one file each, and what they share."""
