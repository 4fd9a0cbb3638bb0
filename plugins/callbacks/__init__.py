"""The included callbacks, registered by the entry points in setup.cfg."""
