"""Stateful tables of schema ``rescore``: alembic revisions, frozen once released."""
