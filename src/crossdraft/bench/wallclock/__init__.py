"""`crossdraft bench wallclock`: the same questions, several ways of answering them, one clock."""
