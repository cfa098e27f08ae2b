"""The api function: takes jobs in and tells how they stand."""
