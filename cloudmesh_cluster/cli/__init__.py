"""What a user types and sees: parse, call an operation, print. Nothing below this package prints."""
