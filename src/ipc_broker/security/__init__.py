"""Who may do what on the bus: principals, policy, tokens and quotas, without any I/O."""
