"""What travels between client and server: the query language, the errors, times, who asks and until when."""
