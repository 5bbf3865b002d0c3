"""Bad input to the parser, to every exchange of documents, and to running servers and dealers."""
