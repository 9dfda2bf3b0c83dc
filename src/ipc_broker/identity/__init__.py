"""Who is at the other end of a connection, as the operating system tells: for brokers and for clients."""
