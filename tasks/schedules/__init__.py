"""Requests made by the policy file. Imports handlers and below."""
