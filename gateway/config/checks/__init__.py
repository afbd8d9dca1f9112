"""What must stand together in a configuration, and what is unsafe in it.

consistency       keys that need, exclude or repeat each other
directory_rules   the same for the `directory` section
safety            refused unless allowed by name, or said as a warning at every start; what a change of `keys` does
files             the files that a configuration names
"""
