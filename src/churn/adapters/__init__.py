"""What fills the ports: each module is named technology + role."""
