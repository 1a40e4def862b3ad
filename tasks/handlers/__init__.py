"""One file per kind of due work: read, decide, commit. Imports intake, views, state_machine and below."""
