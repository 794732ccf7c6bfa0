"""Who is on a picture: a small embedding of studio subjects, trained on training subjects only."""
