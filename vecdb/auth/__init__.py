"""Who calls, and what they may: keys, tokens, scopes, quotas, and the log of what was done.

`authenticator` says whose a call is, `scopes` what that one may, `usage` how much, and `audit`
keeps what came of it. None of it knows gRPC: rpc/guard.py asks at each call, ops at HTTP's ports.
"""
