"""What a step and an epoch are made of."""
