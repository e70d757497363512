"""The event stream in the words of other systems: programs that subscribe and pass on."""
