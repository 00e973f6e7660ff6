"""The node engine: real nodes made of Linux namespaces, for root and ordinary users alike.

Standard library only, so that other programs (in other virtual environments) can use it too. Nothing is imported
here; the public names are in `engine`, `images`, `dial`, `requirements` and `errors`.
"""
