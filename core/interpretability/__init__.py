"""Looking inside a trained model: arrays in, arrays out."""
