"""A real Swift of one node in one process, for trying things out and for the tests."""
