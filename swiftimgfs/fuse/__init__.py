"""What the kernel says: its requests and its structures, and nothing about Swift."""
