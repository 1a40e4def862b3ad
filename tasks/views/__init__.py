"""What people are shown of the ledger. Imports state_machine and below."""
