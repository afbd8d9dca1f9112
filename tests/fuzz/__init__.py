"""Coverage-guided fuzzing: `make fuzz`, or `python -m tests.fuzz [TARGET...]`. Each target runs for FUZZ_SECONDS (20)."""
