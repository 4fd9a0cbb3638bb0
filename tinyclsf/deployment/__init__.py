"""A trained model in use: on picture files, and as a file that works elsewhere."""
