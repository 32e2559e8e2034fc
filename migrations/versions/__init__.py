"""One file per revision; a revision's SQL stands beside it under the same name."""
