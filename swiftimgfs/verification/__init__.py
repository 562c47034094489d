"""Whether the bytes of images in a mount are those that their digests were made of."""
