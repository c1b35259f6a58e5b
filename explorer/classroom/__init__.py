"""The page of a class for its teacher, and what its members see of the class."""
