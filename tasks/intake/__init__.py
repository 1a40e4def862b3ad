"""A request arrives: validate, check limits, accept. Imports state_machine and below."""
