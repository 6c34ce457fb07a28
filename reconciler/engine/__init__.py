"""Observe, plan, act: what keeps a VM as its file says."""
