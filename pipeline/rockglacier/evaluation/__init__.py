"""Judge networks, and maps from elsewhere, on ground that nothing has seen."""
