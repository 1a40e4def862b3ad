"""The scaleout command. Imports tasks and config."""
