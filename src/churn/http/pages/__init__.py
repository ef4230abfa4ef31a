"""What people look at: our templates, style sheets and scripts, and the handlers that serve them."""
