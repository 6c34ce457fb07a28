"""Takes over StratoVirt processes that another tool started."""
