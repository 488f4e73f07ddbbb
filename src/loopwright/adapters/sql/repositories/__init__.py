"""The repositories of the ledger over tables that both stores share."""
