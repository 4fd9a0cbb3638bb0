"""A run written out as a plain PyTorch script: its data, its model and its loop."""
