"""Running it elsewhere: sweeps, benchmarks, clusters."""
