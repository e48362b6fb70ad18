"""What the operator has set, read once into a frozen value."""
