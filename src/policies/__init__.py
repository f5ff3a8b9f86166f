"""What may be spent, in what form, and what it did cost: policies, the ledger and the guard."""
