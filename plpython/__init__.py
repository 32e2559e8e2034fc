"""Python that runs in the server, and outside it in the trainer: load, check, fold, score."""
