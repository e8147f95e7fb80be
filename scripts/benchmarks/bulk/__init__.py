"""The benchmark of many light curves: 100,000 objects, five columns, with all ways of reading them."""
