"""What embeddings and losses look like: points on the sphere, maps of them, curves over the
angle.
"""
