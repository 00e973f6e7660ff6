"""An operation from begin to end: journal, undo, evidence."""
