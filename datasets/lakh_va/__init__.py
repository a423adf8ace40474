"""The dataset lakh_va."""
