"""Measurements, each as a ratio inside one run: machines differ and are noisy."""
