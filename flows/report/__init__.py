"""The report: a run's manifest as one self-contained page, with thumbnails inside."""
