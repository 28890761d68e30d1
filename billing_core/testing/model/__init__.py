"""A deliberately naive model of the ledger. It shares no code with what decides."""
