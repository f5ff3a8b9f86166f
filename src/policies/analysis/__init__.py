"""What can be found out about a policy before it decides: proofs, lint, differences, the past replayed.

Here belong examinations of policies that read no ledger. Deciding belongs to `engine`; showing what was
found belongs to the command line.
"""
