"""Methods side by side, and tables as papers print them."""
