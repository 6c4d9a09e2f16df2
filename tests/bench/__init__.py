"""`make bench`: pgqueue beside its peers, on one server, in turns."""
