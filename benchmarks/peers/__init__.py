"""What the benchmarks measure holdfast beside, where it takes more than a call to set it up."""
