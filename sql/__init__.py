"""Functions and views of schema ``rescore``, one file per step, and what applies them."""
