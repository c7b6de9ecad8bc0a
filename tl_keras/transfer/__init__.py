"""What learns, and how fast: an encoder's blocks, freezing and thawing them, rates for each, cutting the top off."""
