"""What the tests stand on: servers, faults and other helpers."""
