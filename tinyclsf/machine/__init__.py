"""Devices, processes, signals, random generators and files: what the computer underneath gives."""
