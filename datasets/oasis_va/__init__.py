"""The dataset oasis_va."""
