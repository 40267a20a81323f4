"""Analysis of embeddings and losses: geometry on the sphere, projections, and target curves."""
