"""Parts that several pages share: layout, forms, pickers, the address and the session."""
