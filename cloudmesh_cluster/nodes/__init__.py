"""What nodes are given: user data, `/etc/hosts`, keys, scripts."""
