"""The `facecycle` command: parse, resolve the configuration, call the engine. One file a command."""
