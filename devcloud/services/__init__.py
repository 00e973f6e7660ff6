"""What runs inside OpenStack's own processes, in devcloud's virtual environment."""
