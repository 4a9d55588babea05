"""The built-in transports, found through entry points like anybody's (`holdfast.registry`)."""
