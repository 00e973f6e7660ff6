"""What the README claims, measured: `make bench` and `make scale`."""
