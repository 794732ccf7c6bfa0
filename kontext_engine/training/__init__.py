"""Training of kontext-mini: the studio data set, the autoencoder, the flow-matching trainer."""
