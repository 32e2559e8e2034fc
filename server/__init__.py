"""A PostgreSQL of rescore's own, for the demo, the tests and trying out."""
