"""The faults that the program promises to survive; README.md lists each with its test."""
