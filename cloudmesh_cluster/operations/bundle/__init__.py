"""Bundles: everything that a cluster without internet needs, in one file."""
