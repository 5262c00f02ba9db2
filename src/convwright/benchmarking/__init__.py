"""How long networks, runs and exported files take in each engine, beside what the machine allows."""
