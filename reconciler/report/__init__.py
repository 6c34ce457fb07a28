"""What happened (events) and what is true (status); all that is shown comes from these."""
