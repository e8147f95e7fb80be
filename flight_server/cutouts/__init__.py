"""One cutout as bytes, FITS file or array: pure functions of its bytes."""
