"""What the page Sweeps is made of."""
