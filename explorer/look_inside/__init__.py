"""The sections of Look inside, one file each; `sections` lists them."""
