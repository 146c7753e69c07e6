"""Where rows go: sealed Parquet parts that are created once, and the manifest that publishes them."""
