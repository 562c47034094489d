"""What a mount is told: Glance's files, our own file, the environment and `-o`, as frozen values."""
