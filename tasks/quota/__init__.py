"""The API call budget: rate limiter and poll interval. Imports runtime and config."""
