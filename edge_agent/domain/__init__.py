"""Pure values and rules: no SQL, HTTP, files, clock or dice. Values in, values out."""
