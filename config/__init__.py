"""Settings, policy file, Celery options and logs. Imports nothing else of the project."""
