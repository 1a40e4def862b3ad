"""Log lines: one line an event, bounded and redacted. Imports nothing else of this project but timestamps."""
