"""What builds the notebooks, the talk's decks, nbgrader's course and the book."""
