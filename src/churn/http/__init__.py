"""Litestar: the only place that names a status code, a header or a JSON key."""
