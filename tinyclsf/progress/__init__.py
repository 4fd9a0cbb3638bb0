"""How far training and other long work have come: who tells of it, and how a person sees it."""
