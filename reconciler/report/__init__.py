"""What happened and what is true: events and status."""
