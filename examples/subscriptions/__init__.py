"""A company that sells subscriptions, made up, whose customers' true hazard of leaving is known."""
