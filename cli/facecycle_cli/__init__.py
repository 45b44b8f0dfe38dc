"""The `facecycle` command: parse, resolve the configuration, call the room of that name. One file per command."""
