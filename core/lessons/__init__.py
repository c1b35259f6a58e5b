"""What the lessons compute, in the fewest lines that a newcomer can read; arrays in, arrays out."""
