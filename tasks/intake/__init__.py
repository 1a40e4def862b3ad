"""A request comes in: validate, check limits, accept. Imports state_machine and below."""
