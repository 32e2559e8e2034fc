"""The numbers of the learning loop: measuring, learning, calibrating, gating; no database."""
