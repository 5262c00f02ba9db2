"""Latency, throughput and memory of networks by engine, beside the limits of the machine."""
