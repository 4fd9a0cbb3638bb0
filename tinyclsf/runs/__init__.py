"""The run folder: its files, what is in them, and what writes them."""
