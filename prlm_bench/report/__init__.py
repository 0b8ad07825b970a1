"""Tables made of stored results."""
