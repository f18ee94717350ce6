"""One ml_collections config a file; `get_config(arg)`, `sweep(add)`."""
