"""What runs inside the peers' environments. Nothing here imports mpcinfer or what it is made of."""
