"""What tests share. t, peer and runner run on every interpreter; everything else on CPython, in pytest's own process."""
