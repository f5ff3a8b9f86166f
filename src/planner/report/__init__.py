"""Plain rows as text: tables for people, Markdown, CSV and JSON. No policy and no ledger is known here."""
