"""The HTTP surface: `scaleout gateway`."""
