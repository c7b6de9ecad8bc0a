"""A page in the browser to try a model in (extra `try`)."""
