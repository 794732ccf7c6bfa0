"""Training of small Kontext models: tokenizers, data, autoencoder, flow matching."""
