"""PURE: an operation's states and what each event does to them. Imports ledger records and limits."""
