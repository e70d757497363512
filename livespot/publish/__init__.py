"""Events leave livespot here: message schema, ZeroMQ publisher and subscriber."""
