"""The data sets, models and callbacks of tinyclsf, found by entry points as everyone's are."""
