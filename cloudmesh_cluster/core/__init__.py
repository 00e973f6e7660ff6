"""What everything else is built on; it imports nothing of the other rooms."""
