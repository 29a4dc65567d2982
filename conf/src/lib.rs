//! nginx configuration text to a typed tree: lexer, parser, includes, directive table, value readers.
