"""What rescore is put through: many writers, crashes, standbys, restores, upgrades, poolers.

Each scenario is a function that takes a place to work in and a size, and returns an
:class:`~rescore.torture.outcome.Outcome`: what was done how often, and what was lost by it.
"""
