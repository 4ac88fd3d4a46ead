"""Networks, their training and their honest scores."""
