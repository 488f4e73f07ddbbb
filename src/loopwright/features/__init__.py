"""Features: views of datasets as known at an instant, the same for training and for serving."""
