"""`python -m testbed.demo`: a release goes wrong on a real cluster and is rolled back, shown step by step."""
