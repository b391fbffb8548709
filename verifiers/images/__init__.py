"""What verifiers of images share: how an image is read, closed forms, and networks that see it."""
