"""PURE: what the policy allows. Imports contract and config; no I/O."""
