"""Other ways to serve the same prediction, and the measurement of them side by side."""
