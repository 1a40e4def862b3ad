"""What the environment and the policy file say, and how logs look. Imports nothing else of the project."""
