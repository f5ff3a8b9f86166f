"""The `planner` command: what people type, what they read, and the exit code that scripts rely on.

Here belong words, flags and layout. What anything costs belongs to `planner`; what may happen, and
everything that spends, to the other rooms of `policies`.
"""
