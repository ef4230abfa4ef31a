"""What is true without a clock, a network or a disk."""
