"""Where rows come from: inputs -> shards -> chunks, with every row that cannot be read accounted for."""
