"""A simulated provider. Imports nothing else of the project."""
