"""The benchmark of many light curves: 100,000 objects, five columns, through everything that reads them."""
