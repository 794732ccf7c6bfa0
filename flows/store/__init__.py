"""Where done pictures live: the contract in ``base`` and ``keyed``; a folder and S3 as homes."""
