"""The command line; `app.py` starts it, and every command is a file."""
