"""The steps a user takes, one library function each; the command line only calls them."""
