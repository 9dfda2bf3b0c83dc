"""The asyncio shells: they move bytes and wait; what the bytes mean is decided elsewhere."""
