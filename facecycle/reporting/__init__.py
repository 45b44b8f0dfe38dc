"""One page of many results, measured and published side by side."""
