"""Everything that knows StratoVirt: its command line, its QMP, its process."""
