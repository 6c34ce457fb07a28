"""One domain, alive: its controller, and what carries out its plan."""
