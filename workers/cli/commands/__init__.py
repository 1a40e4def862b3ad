"""One file per command. Imports workers.cli, tasks and config."""
