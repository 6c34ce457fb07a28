"""Where domain files come from: complete listings with a revision, or an error; never a part."""
