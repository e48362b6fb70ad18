"""What is in deploy/ works: read by the tools it is made for, and held against the house."""
