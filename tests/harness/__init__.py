"""What the tests of whole programs are made of: users, nodes, outcomes, leftovers. Python's standard library only."""
