"""The datasets and models that come with tinyclsf, registered by the same entry points as anyone's."""
