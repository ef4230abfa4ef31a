"""Whole files of employees: read, scored and written block by block."""
