def hold(happened):
    """Stay in sight of the harness, if it happened."""
    while happened:
        pass
