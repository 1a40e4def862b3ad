"""The running process: wiring, and a dispatcher that hands due work to handlers. Imports all below."""
