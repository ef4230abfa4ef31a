"""One class a verb: the order of the steps, and one transaction."""
