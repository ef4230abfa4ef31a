"""PostgreSQL behind the ports that remember something."""
