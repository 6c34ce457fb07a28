"""What would be done, asked without doing it: plan, plan --dir, --ref, apply, explain."""
