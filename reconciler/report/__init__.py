"""What happened (events) and what is true (status); everything shown to anybody comes from these."""
