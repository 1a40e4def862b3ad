"""The policy file: limits, what is allowed, schedules. Imports config only."""
