"""A new plugin package to begin with."""
