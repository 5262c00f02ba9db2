"""The command line: each command parses its options, calls a function of the library and prints the result."""
