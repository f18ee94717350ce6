"""Networks whose features are compared, not trained."""
