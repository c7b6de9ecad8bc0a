"""Export, reload, predict."""
