"""From data to a bundle that can be served: checked, fitted, evaluated, described."""
