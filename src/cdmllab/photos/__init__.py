"""One's own photos: faces found and aligned, compared by a network, and reported with what a score
cannot say.

Everything happens on this machine, and nothing is written unless it is asked for.
"""
