"""Experiments: from what was asked for to a trained run. Nothing here knows of a command line or a terminal."""
