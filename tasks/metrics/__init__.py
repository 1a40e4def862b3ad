"""What is true of the ledger, for Prometheus: read when somebody asks, whichever process does."""
