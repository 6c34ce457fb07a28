"""Observe, plan, act: what keeps every VM as its file says."""
