"""The class page for the teacher, and the parts that its members see."""
