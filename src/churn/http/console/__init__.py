"""The console: the pages that people work in, behind a session."""
