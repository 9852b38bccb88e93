"""Hand models against what depth cameras saw."""
