"""The one training loop: what it is given, the step that it repeats, and what it writes."""
