"""The provider's protocol: sign, send once, classify the reply. Imports nothing else of tasks."""
