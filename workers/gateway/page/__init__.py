"""The operator page: rendered here, read without JavaScript, live and with actions with it."""
