"""Public messages: request, outcome, schemas. Imports config only."""
