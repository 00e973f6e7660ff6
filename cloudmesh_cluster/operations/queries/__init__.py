"""Questions about clusters; nothing is changed."""
