"""Loaders of batches: whole ones from memory, by workers, and shared among processes."""
