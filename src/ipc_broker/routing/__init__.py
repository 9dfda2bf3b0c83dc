"""The broker's brain: who gets which message. Without I/O and without a clock."""
