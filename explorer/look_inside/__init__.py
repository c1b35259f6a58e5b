"""The sections of Look inside, a file each; `sections` lists them."""
