"""What text-to-image targets are asked about and told: latents and embeddings, made once."""
