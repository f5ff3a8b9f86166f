"""A local stand-in of the provider's API, for rehearsals, tests and the demo: nothing here costs anything.

It is an independent second reading of the provider's facts: its prices, limits and checks are its own,
and nothing of the planner's pricing or of the guard is imported. `provider` is the pure machine that
can be driven in virtual time; `app` puts it behind a socket.
"""
