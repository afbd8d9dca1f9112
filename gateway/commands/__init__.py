"""What `doorward` can be asked for: one module a group of commands; `cli` puts them together.

Each module has plain functions with typer's annotations, or a typer app of its own where a command has sub-commands. All output goes
through the two consoles of `printing`; a command that found something wrong ends with an exit status, never with a traceback.
"""
