"""scaleout demo: the whole system on loopback. Imports workers.cli and the simulator's client."""
