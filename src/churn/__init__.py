"""Predicts employee turnover, says why, and remembers every prediction it made."""
