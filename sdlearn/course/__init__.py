"""What the notebooks and their presenters need, and a trainer would not."""
