"""Models kept as joblib bundles: a folder with a model, a manifest and a card."""
