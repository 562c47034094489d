"""How bytes get in: spooled, cut into segments, uploaded while more comes, committed at once."""
