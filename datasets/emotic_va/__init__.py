"""The dataset emotic_va."""
