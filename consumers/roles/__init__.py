"""The two roles as they run: a transform in its loop, with monitoring beside it.

A module each, for neither should wait for what only the other one imports.
"""
