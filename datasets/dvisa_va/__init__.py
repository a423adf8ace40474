"""The dataset dvisa_va."""
