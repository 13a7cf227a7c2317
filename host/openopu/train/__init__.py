"""Training of networks by direct feedback alignment, with the feedback computed by an optical processing unit."""
