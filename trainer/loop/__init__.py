"""The learning loop in the database: rounds that read, learn, test, and end in one transaction."""
