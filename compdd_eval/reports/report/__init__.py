"""One HTML file on the results of one run or many."""
