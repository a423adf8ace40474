"""The dataset emotion6_va."""
