"""The status: built from each domain's state, published as status.json."""
