"""The commands of the `sdlearn` program: a dataclass each, whose fields are its options.

Only light imports at the top of these files: `sdlearn --help` reads them all.
"""
