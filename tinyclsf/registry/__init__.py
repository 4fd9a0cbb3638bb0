"""From names to plugins, and from texts to their options."""
