"""The callbacks that come along, registered by the entry points in setup.cfg."""
