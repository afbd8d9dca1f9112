"""`make mutate`: takes out the defence under each `# SECURITY:` comment, one at a time, and says which of them no test misses.

defences    the comments in `gateway/`, the code that each stands above, the tests that name its cases
mutants     how each defence is taken out: by rule where it is a guard, by `tests/mutants.yaml` elsewhere
trial       a copy of the tree in which one mutant at a time is tested
kept        what was found before, by content
"""
