"""From a query to a plan: what is read, in which order, split into which endpoints, after which cursor."""
