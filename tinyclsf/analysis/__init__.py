"""What can be told of a data set, a model or a run: checks, figures, comparisons, and what they suggest."""
