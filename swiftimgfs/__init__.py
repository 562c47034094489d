"""swiftimgfs: an OpenStack Swift image store as a filesystem."""
