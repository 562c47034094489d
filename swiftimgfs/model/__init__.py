"""What the store looks like as files: names, handles, attributes, and where they meet."""
