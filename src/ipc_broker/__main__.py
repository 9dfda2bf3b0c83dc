"""`python -m ipc_broker` is `ipc-broker`."""

from .cli.broker import main

main()
