"""Where done pictures live: the contract in ``base``, a local folder in ``local``."""
