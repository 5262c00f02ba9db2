"""The service: exported files and runs over HTTP."""
